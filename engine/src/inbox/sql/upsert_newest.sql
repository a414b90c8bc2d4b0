INSERT OR REPLACE INTO newest (stream, key, id, "offset", alone) VALUES (?1, ?2, ?3, ?4, ?5)
