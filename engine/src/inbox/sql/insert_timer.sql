INSERT INTO timers (due, position, tenant, id, action, user, stream, "offset", publisher, key)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
-- What was taken back in the same moment as it was updated does not expire.
WHERE ?5 <> 'expire' OR NOT EXISTS (SELECT 1 FROM notifications WHERE id = ?4 AND retracted IS NOT NULL)
