SELECT position, "offset"
FROM entries
WHERE stream = ?1 AND "offset" > ?2 AND position <= ?3
ORDER BY "offset"
LIMIT ?4
