INSERT INTO notifications (position, tenant, id, tags, shared, document, updated, retracted)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
