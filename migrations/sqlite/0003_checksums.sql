-- CRC-32 of what a row holds, so that what changed on the disk is found when it is read, and never delivered. Of the
-- payload apart: it can be erased, and the rest still be checked. NULL in rows from before.

ALTER TABLE events ADD COLUMN checksum INTEGER;
ALTER TABLE payloads ADD COLUMN checksum INTEGER;
