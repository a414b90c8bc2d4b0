INSERT INTO streams (id, tenant, owner, channels, head, first, last, retracted)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
