-- The delivery view: derived from the log, made anew when it is missing or of another version. Nothing here is precious.
-- An interval of positions is open below and closed above.

CREATE TABLE checkpoint (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    version    INTEGER NOT NULL, -- of this schema and of the fold
    epoch      TEXT    NOT NULL, -- of the log
    position   INTEGER NOT NULL, -- everything up to here is in
    floor      INTEGER NOT NULL, -- progress on what is at or below it is no longer kept
    pruned_day INTEGER NOT NULL  -- when that was last looked at, in days since 1970
);

CREATE TABLE people (
    id               INTEGER PRIMARY KEY,
    tenant           TEXT NOT NULL,
    user             TEXT NOT NULL,
    claims_issued_at INTEGER,
    has_left         INTEGER NOT NULL, -- some channel, once
    sent             TEXT NOT NULL,    -- what was sent to any of their devices: JSON
    delivered        TEXT NOT NULL,
    UNIQUE (tenant, user)
) STRICT;

-- `everyone` like any other channel.
CREATE TABLE memberships (
    tenant  TEXT    NOT NULL,
    channel TEXT    NOT NULL,
    user    TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    until   INTEGER,
    makers  INTEGER NOT NULL,
    PRIMARY KEY (tenant, channel, user, since)
) STRICT, WITHOUT ROWID;

CREATE INDEX memberships_by_user ON memberships (tenant, user);

-- Where notifications to channels are numbered: a set of channels, apart for those that are only shown live.
CREATE TABLE lanes (
    id        INTEGER PRIMARY KEY,
    tenant    TEXT    NOT NULL,
    channels  TEXT    NOT NULL, -- JSON array, sorted
    live      INTEGER NOT NULL,
    head      INTEGER NOT NULL,
    members   INTEGER NOT NULL, -- people in any of the channels now
    displaced INTEGER NOT NULL -- the last number that does not reach everybody in it
) STRICT;

CREATE TABLE notifications (
    position    INTEGER PRIMARY KEY,
    tenant      TEXT    NOT NULL,
    id          BLOB    NOT NULL, -- UUIDv7
    recorded_at INTEGER NOT NULL, -- milliseconds since 1970
    type        TEXT    NOT NULL,
    channel     TEXT    NOT NULL, -- what stands for the audience in stats
    lane        INTEGER,
    number      INTEGER,          -- in its lane: 1, 2, 3 …
    routed      INTEGER NOT NULL, -- people
    excepted    INTEGER NOT NULL, -- members who were left out
    inbox       INTEGER NOT NULL, -- 0 when it is only shown live
    clicked     INTEGER NOT NULL DEFAULT 0,
    retracted    INTEGER,         -- the event that took it back
    retracted_at INTEGER,         -- milliseconds since 1970
    expired      INTEGER          -- 1 when its time was over
) STRICT;

CREATE UNIQUE INDEX notifications_by_id ON notifications (id);
CREATE INDEX retracted_notifications ON notifications (tenant, position, retracted) WHERE retracted IS NOT NULL;
CREATE INDEX notifications_by_lane ON notifications (lane, position, number) WHERE lane IS NOT NULL;
CREATE INDEX notifications_in_lanes ON notifications (position, lane, number) WHERE lane IS NOT NULL;

-- What was addressed to people by name.
CREATE TABLE own (
    person   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (person, position)
) STRICT, WITHOUT ROWID;

-- Of a lane, what does not reach a member through it: they were addressed by name, or left out.
CREATE TABLE displaced (
    person INTEGER NOT NULL,
    lane   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (person, lane, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE connections (
    run          INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    person       INTEGER NOT NULL,
    device       TEXT    NOT NULL,
    transport    TEXT    NOT NULL,
    began        INTEGER NOT NULL,
    "from"       INTEGER NOT NULL,
    sent         INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    first        INTEGER NOT NULL, -- positions of the first and the last progress of it
    last         INTEGER NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX connections_by_person ON connections (person, device);

CREATE TABLE progress (
    position    INTEGER PRIMARY KEY,
    tenant      TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;

-- What people read, by positions of a lane; lane 0 is what was addressed to them by name. Disjoint.
CREATE TABLE reads (
    person  INTEGER NOT NULL,
    lane    INTEGER NOT NULL,
    after   INTEGER NOT NULL,
    up_to   INTEGER NOT NULL,
    read_at INTEGER NOT NULL, -- milliseconds since 1970
    PRIMARY KEY (person, lane, after)
) STRICT, WITHOUT ROWID;

-- What people put off and never read: what is put off now, and what came back since. A read-all does not read what came back
-- after what it had seen.
CREATE TABLE snoozes (
    person     INTEGER NOT NULL,
    position   INTEGER NOT NULL, -- of the notification
    lane       INTEGER NOT NULL, -- through which they have it
    snoozed_at INTEGER,          -- the event that put it off, while it is
    woken_at   INTEGER,          -- the event that brought it back last
    PRIMARY KEY (person, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX snoozes_by_position ON snoozes (position);

-- Whose action people followed, the first time.
CREATE TABLE clicks (
    person     INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    clicked_at INTEGER NOT NULL, -- milliseconds since 1970
    PRIMARY KEY (person, position)
) STRICT, WITHOUT ROWID;

-- Difference arrays: the sum up to a number is how many people it is so for.
CREATE TABLE totals (
    lane      INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    sent      INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    read      INTEGER NOT NULL,
    PRIMARY KEY (lane, number)
) STRICT, WITHOUT ROWID;

-- The stats: what happened in a minute. The transport is empty where it says nothing.
CREATE TABLE minutes (
    tenant    TEXT    NOT NULL,
    minute    INTEGER NOT NULL, -- since 1970
    type      TEXT    NOT NULL,
    channel   TEXT    NOT NULL,
    transport TEXT    NOT NULL,
    published INTEGER NOT NULL,
    sent      TEXT    NOT NULL, -- by latency: JSON array
    delivered INTEGER NOT NULL,
    read      INTEGER NOT NULL,
    clicked   INTEGER NOT NULL,
    dropped   INTEGER NOT NULL,
    PRIMARY KEY (tenant, minute, type, channel, transport)
) STRICT, WITHOUT ROWID;

-- Totals, summed over 1,024 numbers each.
CREATE TABLE total_blocks (
    lane      INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    sent      INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    read      INTEGER NOT NULL,
    PRIMARY KEY (lane, number)
) STRICT, WITHOUT ROWID;
