INSERT INTO timers (due, position, tenant, id, action, user, stream, "offset", publisher, key)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
