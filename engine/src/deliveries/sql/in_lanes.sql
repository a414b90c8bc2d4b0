SELECT position, lane, number FROM notifications
WHERE lane IS NOT NULL AND position > ?1 AND position <= ?2 ORDER BY position
