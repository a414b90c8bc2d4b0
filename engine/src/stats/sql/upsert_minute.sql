INSERT OR REPLACE INTO minutes (tenant, minute, type, channel, transport, published, sent, delivered, read, clicked, dropped)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
