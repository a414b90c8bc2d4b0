INSERT INTO idempotency_keys (position, tenant, publisher, key, content_hash, claimed_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (tenant, publisher, key) DO NOTHING
