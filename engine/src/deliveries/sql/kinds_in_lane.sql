SELECT type, channel, count(*) FROM notifications
WHERE lane = ?2 AND position > ?3 AND position <= ?4
  AND NOT EXISTS (SELECT 1 FROM displaced WHERE person = ?1 AND lane = ?2 AND displaced.number = notifications.number)
GROUP BY type, channel ORDER BY type, channel
