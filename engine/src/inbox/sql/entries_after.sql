SELECT position, "offset"
FROM entries
WHERE stream = ?1 AND position > ?2 AND position <= ?3
ORDER BY position
LIMIT ?4
