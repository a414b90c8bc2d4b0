INSERT INTO concerns (tenant, channel, position, joined, "left", of) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
