INSERT INTO superseded (position, stream, "offset", id, alone) VALUES (?1, ?2, ?3, ?4, ?5)
