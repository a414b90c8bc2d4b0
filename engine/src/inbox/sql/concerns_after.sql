SELECT position, joined, "left"
FROM concerns
WHERE tenant = ?1 AND channel = ?2 AND position > ?3 AND position <= ?4
ORDER BY position
LIMIT ?5
