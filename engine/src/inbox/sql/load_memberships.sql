SELECT w.key, m.channel, m.since, m.makers
FROM json_each(?1) w
CROSS JOIN memberships m ON m.tenant = w.value ->> 0 AND m.user = w.value ->> 1
