SELECT due, position, tenant, id, action, user, stream, "offset", publisher, key
FROM timers
ORDER BY due, position, stream, "offset"
