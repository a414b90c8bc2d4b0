SELECT position, entries
FROM events
WHERE position > (SELECT indexed FROM head) AND entries IS NOT NULL
ORDER BY position
