INSERT INTO events (position, tenant, type, version, recorded_at, envelope, entries, checksum)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
