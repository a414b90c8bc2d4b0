SELECT (SELECT number FROM notifications WHERE lane = ?1 AND position <= ?2 ORDER BY position DESC LIMIT 1)
