SELECT published, sent, delivered, read, clicked, dropped FROM minutes
WHERE tenant = ?1 AND minute = ?2 AND type = ?3 AND channel = ?4 AND transport = ?5
