SELECT p.position
FROM payloads p
LEFT JOIN events e ON e.position = p.position
WHERE e.position IS NULL
