SELECT e.position, e.tenant, e.type, e.version, e.recorded_at, e.envelope, e.entries, p.payload, e.checksum, p.checksum
FROM events e
LEFT JOIN payloads p ON p.position = e.position
WHERE e.position > ?1
ORDER BY e.position
LIMIT ?2
