SELECT e.position, e.tenant, e.type, e.version, e.recorded_at, e.envelope, e.entries, p.payload, e.checksum, p.checksum
FROM json_each(?1) wanted
CROSS JOIN events e ON e.position = wanted.value
LEFT JOIN payloads p ON p.position = e.position
ORDER BY e.position
