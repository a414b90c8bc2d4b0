SELECT s.position, s.stream, s."offset", s.id, s.alone
FROM json_each(?1) wanted
CROSS JOIN superseded s ON s.position = wanted.value
