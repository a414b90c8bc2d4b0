UPDATE notifications SET clicked = clicked + 1 WHERE id = ?1 RETURNING type, channel
