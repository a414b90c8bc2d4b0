-- The heads and the entries of streams are an index of what the events say, and are written some thousand at a time. They hold
-- everything up to here; what came since is in the events alone.

ALTER TABLE head ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
UPDATE head SET indexed = position;
