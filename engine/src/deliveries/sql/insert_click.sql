INSERT OR IGNORE INTO clicks
SELECT ?1, position, ?4 FROM notifications WHERE id = ?2 AND tenant = ?3
