INSERT INTO memberships (tenant, channel, user, since, makers)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (tenant, channel, user) DO UPDATE SET since = excluded.since, makers = excluded.makers
