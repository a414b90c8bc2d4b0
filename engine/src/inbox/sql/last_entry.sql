SELECT "offset", position
FROM entries
WHERE stream = ?1
ORDER BY "offset" DESC
LIMIT 1
