UPDATE notifications SET retracted = ?2, retracted_at = ?3, expired = ?4
WHERE position = ?1 AND retracted IS NULL
RETURNING type, channel
