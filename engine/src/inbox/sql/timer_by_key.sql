SELECT due, position, tenant, id, action, user, stream, "offset", publisher, key
FROM timers
WHERE tenant = ?1 AND publisher = ?2 AND key = ?3
