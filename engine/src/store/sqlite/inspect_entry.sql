SELECT n.position, s.tenant, s.name
FROM entries n
JOIN streams s ON s.id = n.stream
WHERE n.stream = ?1 AND n."offset" = ?2
