SELECT "offset"
FROM entries
WHERE stream = ?1 AND position <= ?2
ORDER BY position DESC
LIMIT 1
