SELECT due, position, tenant, id, action, user, stream, "offset", publisher, key
FROM timers
WHERE tenant = ?1 AND publisher IS NOT NULL AND publisher = ifnull(?2, publisher) AND (due, position) > (?3, ?4)
ORDER BY due, position
LIMIT ?5
