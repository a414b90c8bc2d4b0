SELECT w.key, s.id, s.head, s.last
FROM json_each(?1) w
CROSS JOIN streams s ON s.tenant = w.value ->> 0 AND s.owner = w.value ->> 1
