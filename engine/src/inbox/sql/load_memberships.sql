SELECT w.key, m.channel, m.since, m.makers
FROM json_each(?1) w
-- Left to itself, SQLite looks through all memberships of the tenant.
CROSS JOIN memberships m INDEXED BY memberships_by_user ON m.tenant = w.value ->> 0 AND m.user = w.value ->> 1
