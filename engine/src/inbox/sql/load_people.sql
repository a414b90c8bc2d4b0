SELECT w.key, p.known_since, p.claims_issued_at
FROM json_each(?1) w
CROSS JOIN people p ON p.tenant = w.value ->> 0 AND p.user = w.value ->> 1
