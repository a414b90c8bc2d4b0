SELECT s.tenant, s.name, s.head, n.position
FROM streams s
LEFT JOIN entries n ON n.stream = s.id AND n."offset" = ?2
WHERE s.id = ?1
