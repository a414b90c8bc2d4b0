INSERT INTO streams (id, tenant, owner, channels, head, first, last, retracted)
VALUES (?1, ?2, ?3, ?4, iif(?3 IS NULL, ?5, NULL), ?6, iif(?3 IS NULL, ?7, NULL), ?8)
