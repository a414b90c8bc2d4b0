DELETE FROM snapshots
WHERE position NOT IN (SELECT position FROM snapshots ORDER BY position DESC LIMIT ?1)
