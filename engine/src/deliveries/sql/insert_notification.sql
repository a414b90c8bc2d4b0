INSERT INTO notifications (position, tenant, id, recorded_at, type, channel, lane, number, routed, excepted, inbox)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
