SELECT due, position, tenant, id, action, user, stream, "offset", publisher, key
FROM timers
WHERE id = ?1 AND tenant = ?2 AND action = 'publish'
