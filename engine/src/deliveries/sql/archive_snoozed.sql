UPDATE snoozes SET snoozed_at = NULL
WHERE person = ?1 AND position = (SELECT position FROM notifications WHERE id = ?2)
