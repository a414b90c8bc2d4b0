INSERT INTO streams (id, tenant, owner, first) VALUES (?1, ?2, ?3, ?4)
