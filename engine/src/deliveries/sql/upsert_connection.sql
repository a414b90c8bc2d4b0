INSERT INTO connections VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (run, number) DO UPDATE
SET sent = excluded.sent, acknowledged = excluded.acknowledged, last = excluded.last
