INSERT INTO payloads (position, payload) VALUES (?1, ?2)
