-- Snapshots of what views are made of, in parts. A snapshot is there once it is named in `snapshots`; parts of others are
-- left over.

CREATE TABLE snapshots (
    position INTEGER PRIMARY KEY, -- everything up to here is in it
    epoch    TEXT    NOT NULL,    -- of that position
    format   INTEGER NOT NULL,    -- of its parts
    fold     INTEGER NOT NULL,    -- which made of events what is in it
    made_at  INTEGER NOT NULL,    -- milliseconds since 1970
    parts    INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT;

CREATE TABLE snapshot_parts (
    position INTEGER NOT NULL, -- of the snapshot
    number   INTEGER NOT NULL, -- from 0
    checksum INTEGER NOT NULL, -- CRC-32
    part     BLOB    NOT NULL,
    PRIMARY KEY (position, number)
) STRICT;
