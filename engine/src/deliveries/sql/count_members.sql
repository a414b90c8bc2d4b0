SELECT count(DISTINCT user) FROM memberships
WHERE tenant = ?1 AND channel IN (SELECT value FROM json_each(?2)) AND until IS NULL
