SELECT run, number, sent FROM connections
WHERE person = ?1 AND device = ?2 AND "from" <= ?3 AND (run < ?4 OR (run = ?4 AND number < ?5))
ORDER BY run DESC, number DESC LIMIT 1
