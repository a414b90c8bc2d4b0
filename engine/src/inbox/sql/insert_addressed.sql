INSERT INTO concerns (tenant, channel, position, of) VALUES (?1, ?2, ?3, ?4)
