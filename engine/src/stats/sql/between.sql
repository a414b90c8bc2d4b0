SELECT minute, type, channel, transport, published, sent, delivered, read, clicked, dropped FROM minutes
WHERE tenant = ?1 AND minute >= ?2 AND minute < ?3 ORDER BY minute LIMIT ?4
