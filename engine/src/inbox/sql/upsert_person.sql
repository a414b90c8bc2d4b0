INSERT INTO people (tenant, user, known_since, claims_issued_at)
VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (tenant, user)
DO UPDATE SET known_since = excluded.known_since, claims_issued_at = excluded.claims_issued_at
