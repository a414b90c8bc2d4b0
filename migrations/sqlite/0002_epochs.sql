-- Each opening of the log for writing begins an epoch. A position is of the last epoch that begins at or below it, so a
-- cursor of an end that was lost (an older copy was put back) names an epoch that is not here, or that ended before it.

CREATE TABLE epochs (
    first INTEGER PRIMARY KEY, -- the first position that was given in it
    epoch TEXT NOT NULL
) STRICT;

INSERT INTO epochs SELECT 1, epoch FROM head;

ALTER TABLE head DROP COLUMN epoch;
