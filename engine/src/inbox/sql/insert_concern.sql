INSERT INTO concerns (tenant, channel, position, joined, "left") VALUES (?1, ?2, ?3, ?4, ?5)
