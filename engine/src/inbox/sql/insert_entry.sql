INSERT INTO entries (stream, "offset", position, type) VALUES (?1, ?2, ?3, ?4)
