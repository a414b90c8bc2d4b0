SELECT "offset", type
FROM entries
WHERE stream = ?1 AND "offset" > ?2 AND "offset" <= ?3
