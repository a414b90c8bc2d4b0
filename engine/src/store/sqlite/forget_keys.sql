DELETE FROM idempotency_keys
WHERE position IN (SELECT position FROM idempotency_keys ORDER BY position LIMIT ?2)
  AND claimed_at < ?1
