SELECT e.position, e.tenant, e.type, e.version, e.recorded_at, e.envelope, e.entries, NULL, e.checksum
FROM events e
WHERE e.position > ?1 AND e.entries IS NOT NULL
ORDER BY e.position
