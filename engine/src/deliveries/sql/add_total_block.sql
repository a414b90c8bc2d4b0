INSERT INTO total_blocks VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (lane, number) DO UPDATE
SET sent = sent + excluded.sent, delivered = delivered + excluded.delivered, read = read + excluded.read
RETURNING sent = 0 AND delivered = 0 AND read = 0
