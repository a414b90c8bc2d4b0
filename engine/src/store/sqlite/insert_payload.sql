INSERT INTO payloads (position, payload, checksum) VALUES (?1, ?2, ?3)
