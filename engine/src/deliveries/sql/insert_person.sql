INSERT INTO people (tenant, user, has_left, sent, delivered) VALUES (?1, ?2, 0, '{"all":[]}', '{"all":[]}')
