INSERT INTO people (tenant, user, known_since)
VALUES (?1, ?2, ?3)
ON CONFLICT (tenant, user) DO UPDATE SET known_since = excluded.known_since WHERE known_since IS NULL
