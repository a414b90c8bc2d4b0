-- Put off by the event named, or by any when none is.
UPDATE snoozes SET snoozed_at = NULL, woken_at = ?4
WHERE person = ?1 AND position = (SELECT position FROM notifications WHERE id = ?2)
  AND snoozed_at = coalesce(?3, snoozed_at)
