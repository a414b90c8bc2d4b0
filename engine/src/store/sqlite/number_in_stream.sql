INSERT INTO streams (tenant, name, head)
VALUES (?1, ?2, 1)
ON CONFLICT (tenant, name) DO UPDATE SET head = head + 1
RETURNING id, head
