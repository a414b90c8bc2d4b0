SELECT w.key, s.id, n."offset", n.position
FROM json_each(?1) w
CROSS JOIN streams s ON s.tenant = w.value ->> 0 AND s.owner = w.value ->> 1
CROSS JOIN entries n ON n.stream = s.id AND n."offset" = (SELECT max("offset") FROM entries WHERE stream = s.id)
