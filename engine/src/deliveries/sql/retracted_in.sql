SELECT position, retracted FROM notifications
WHERE retracted IS NOT NULL AND tenant = ?1 AND position > ?2 AND position <= ?3
ORDER BY position
