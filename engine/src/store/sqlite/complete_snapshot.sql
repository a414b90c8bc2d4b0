INSERT OR REPLACE INTO snapshots (position, epoch, format, fold, made_at, parts, bytes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
