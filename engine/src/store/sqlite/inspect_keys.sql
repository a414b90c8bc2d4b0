SELECT k.position, k.key
FROM idempotency_keys k
LEFT JOIN events e ON e.position = k.position
WHERE e.tenant IS NOT k.tenant
