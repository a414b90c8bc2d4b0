-- What is not indexed yet is found in the events, of which there are some thousand.
WITH numbered AS (
    SELECT n."offset", n.position
    FROM streams s
    JOIN entries n ON n.stream = s.id AND n."offset" > ?3
    WHERE s.tenant = ?1 AND s.name = ?2
    UNION ALL
    SELECT n.value ->> 1, late.position
    FROM streams s
    JOIN events late ON late.position > (SELECT indexed FROM head)
    JOIN json_each(late.entries) n ON n.value ->> 0 = s.id AND n.value ->> 1 > ?3
    WHERE s.tenant = ?1 AND s.name = ?2
)
SELECT
    e.position, e.tenant, e.type, e.version, e.recorded_at, e.envelope, e.entries, p.payload, e.checksum, p.checksum,
    n."offset"
FROM numbered n
JOIN events e ON e.position = n.position
LEFT JOIN payloads p ON p.position = e.position
ORDER BY n."offset"
LIMIT ?4
