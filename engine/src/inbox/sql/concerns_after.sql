SELECT c.position, n.retracted IS NOT NULL, c.joined, c."left"
FROM concerns c
LEFT JOIN notifications n ON n.position = c.of
WHERE c.tenant = ?1 AND c.channel = ?2 AND c.position > ?3 AND c.position <= ?4
ORDER BY c.position
LIMIT ?5
