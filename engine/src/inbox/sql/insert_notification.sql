INSERT INTO notifications (position, tenant, id, tags, shared, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
