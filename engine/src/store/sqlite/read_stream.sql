SELECT
    e.position, e.tenant, e.type, e.version, e.recorded_at, e.envelope, e.entries, p.payload, e.checksum, p.checksum,
    n."offset"
FROM streams s
JOIN entries n ON n.stream = s.id AND n."offset" > ?3
JOIN events e ON e.position = n.position
LEFT JOIN payloads p ON p.position = e.position
WHERE s.tenant = ?1 AND s.name = ?2
ORDER BY n."offset"
LIMIT ?4
