INSERT INTO streams (id, tenant, owner, head, first, last)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
