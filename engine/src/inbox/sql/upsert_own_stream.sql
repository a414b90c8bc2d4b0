INSERT INTO streams (id, tenant, owner, head, first, last)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (id) DO UPDATE SET head = excluded.head, last = excluded.last
