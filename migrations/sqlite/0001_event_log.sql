-- The event log. One row in `head`; everything else is numbered from it, in the transaction that appends.

CREATE TABLE head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    epoch    TEXT    NOT NULL,
    position INTEGER NOT NULL
);

CREATE TABLE events (
    position    INTEGER PRIMARY KEY,
    tenant      TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL, -- milliseconds since 1970
    envelope    TEXT    NOT NULL, -- JSON object
    entries     TEXT              -- [[stream, offset], …], in the order of the audience
) STRICT;

-- Kept apart from the envelope so that it can be erased without touching a position.
CREATE TABLE payloads (
    position INTEGER PRIMARY KEY,
    payload  TEXT NOT NULL -- JSON object
) STRICT;

CREATE TABLE streams (
    id     INTEGER PRIMARY KEY,
    tenant TEXT    NOT NULL,
    name   TEXT    NOT NULL, -- `user:ID`, or channels joined by newlines
    head   INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

CREATE TABLE entries (
    stream   INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (stream, "offset")
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    position     INTEGER PRIMARY KEY, -- of the first event that was appended under the key
    tenant       TEXT    NOT NULL,
    publisher    TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    content_hash BLOB    NOT NULL, -- SHA-256 of what the publisher sent
    claimed_at   INTEGER NOT NULL, -- milliseconds since 1970
    UNIQUE (tenant, publisher, key)
) STRICT;
