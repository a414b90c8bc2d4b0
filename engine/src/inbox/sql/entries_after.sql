SELECT e.position, n.retracted IS NOT NULL
FROM entries e
LEFT JOIN notifications n ON n.position = e.position
WHERE e.stream = ?1 AND e.position > ?2 AND e.position <= ?3
ORDER BY e.position
LIMIT ?4
