SELECT position, content_hash
FROM idempotency_keys
WHERE tenant = ?1 AND publisher = ?2 AND key = ?3
