SELECT lane, position, woken_at FROM snoozes
WHERE person = ?1 AND position <= ?2 AND woken_at > ?2 ORDER BY position
