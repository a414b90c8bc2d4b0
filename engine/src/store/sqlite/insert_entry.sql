INSERT INTO entries (stream, "offset", position) VALUES (?1, ?2, ?3)
