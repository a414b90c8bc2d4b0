INSERT INTO lanes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (id) DO UPDATE SET head = excluded.head, members = excluded.members, displaced = excluded.displaced
