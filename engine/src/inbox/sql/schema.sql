-- The inbox view: derived from the log, rebuilt when it is missing or of another version. Nothing here is precious.

CREATE TABLE checkpoint (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    version  INTEGER NOT NULL, -- of this schema and of the fold
    epoch    TEXT    NOT NULL, -- of the log
    position INTEGER NOT NULL  -- everything up to here is in
);

CREATE TABLE streams (
    id       INTEGER PRIMARY KEY, -- the log's
    tenant   TEXT    NOT NULL,
    owner    TEXT,                -- of a user's own stream
    channels TEXT,                -- of a stream of channels: JSON array
    head     INTEGER,             -- of a stream of channels; of a user's own, the last entry says it
    first    INTEGER NOT NULL,    -- positions of its first and last notification
    last     INTEGER,             -- as the head
    retracted BLOB                -- offsets taken back from everybody: a portable 64-bit Roaring bitmap
) STRICT;

CREATE UNIQUE INDEX own_streams ON streams (tenant, owner) WHERE owner IS NOT NULL;

-- Positions grow with the offsets.
CREATE TABLE entries (
    stream   INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    position INTEGER NOT NULL,
    type     TEXT    NOT NULL,
    PRIMARY KEY (stream, "offset")
) STRICT, WITHOUT ROWID;

CREATE TABLE notifications (
    position  INTEGER PRIMARY KEY,
    tenant    TEXT NOT NULL,
    id        BLOB NOT NULL, -- UUIDv7
    tags      TEXT,          -- JSON array
    shared    INTEGER,       -- the stream of the channels addressed
    document  TEXT NOT NULL, -- what clients get
    updated   INTEGER,       -- the last update of it
    retracted INTEGER        -- the event that took it back
) STRICT;

CREATE TABLE people (
    tenant           TEXT    NOT NULL,
    user             TEXT    NOT NULL,
    known_since      INTEGER,
    claims_issued_at INTEGER,
    PRIMARY KEY (tenant, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE memberships (
    tenant  TEXT    NOT NULL,
    channel TEXT    NOT NULL,
    user    TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    makers  INTEGER NOT NULL,
    PRIMARY KEY (tenant, channel, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX memberships_by_user ON memberships (tenant, user);

-- Only what does not follow from the memberships. The sets are portable 64-bit Roaring bitmaps; NULL is empty.
CREATE TABLE readings (
    tenant   TEXT    NOT NULL,
    user     TEXT    NOT NULL,
    stream   INTEGER NOT NULL,
    joined   INTEGER NOT NULL,
    cursor   INTEGER NOT NULL,
    seen     INTEGER NOT NULL,
    read     BLOB,
    unread   TEXT, -- [[offset, position], …]
    hidden   BLOB,
    archived BLOB,
    pinned   BLOB,
    snoozed  TEXT, -- [[offset, until, position], …]
    woken    TEXT, -- [[offset, position], …]
    PRIMARY KEY (tenant, user, stream)
) STRICT, WITHOUT ROWID;

-- What concerns somebody beside the entries of their streams. The channel of a person's own is `user:ID`.
CREATE TABLE concerns (
    tenant   TEXT    NOT NULL,
    channel  TEXT    NOT NULL,
    position INTEGER NOT NULL,
    joined   TEXT,    -- JSON array of the channels they joined by it
    "left"   TEXT,    -- and of those they left
    of       INTEGER, -- the notification it is nothing without
    PRIMARY KEY (tenant, channel, position)
) STRICT, WITHOUT ROWID;

-- What a notification took the place of, in each of its streams.
CREATE TABLE superseded (
    position INTEGER NOT NULL, -- of the newer one
    stream   INTEGER NOT NULL,
    "offset" INTEGER NOT NULL, -- of the older one
    id       BLOB    NOT NULL,
    alone    INTEGER NOT NULL, -- whether it was in no other stream
    PRIMARY KEY (position, stream)
) STRICT, WITHOUT ROWID;

-- The newest notification of each stream with a collapse key.
CREATE TABLE newest (
    stream   INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    id       BLOB    NOT NULL,
    "offset" INTEGER NOT NULL,
    alone    INTEGER NOT NULL, -- whether it is in no other stream
    PRIMARY KEY (stream, key)
) STRICT, WITHOUT ROWID;

-- Events by which something woke indeed.
CREATE TABLE woken (position INTEGER PRIMARY KEY) STRICT;

-- What is to happen at a time.
CREATE TABLE timers (
    due       INTEGER NOT NULL, -- milliseconds since 1970
    position  INTEGER NOT NULL, -- of the event that set it
    stream    INTEGER NOT NULL, -- where it comes back; 0 if nothing does
    "offset"  INTEGER NOT NULL,
    tenant    TEXT    NOT NULL,
    id        BLOB    NOT NULL, -- of the notification
    action    TEXT    NOT NULL,
    user      TEXT,             -- whom it comes back to
    publisher TEXT,             -- of what goes out
    key       TEXT,
    PRIMARY KEY (due, position, stream, "offset")
) STRICT, WITHOUT ROWID;

CREATE INDEX timers_by_id ON timers (id);
CREATE INDEX wakes ON timers (stream, "offset");
CREATE INDEX publications ON timers (tenant, publisher, due, position) WHERE publisher IS NOT NULL;
CREATE INDEX publications_by_key ON timers (tenant, publisher, key) WHERE key IS NOT NULL;
