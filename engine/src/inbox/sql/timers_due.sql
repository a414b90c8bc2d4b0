SELECT due, position, tenant, id, action, user, stream, "offset", publisher, key
FROM timers
WHERE due <= ?1
ORDER BY due, position, stream, "offset"
LIMIT ?2
