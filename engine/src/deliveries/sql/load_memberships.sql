-- Without the name SQLite takes the key, and looks at the members of all channels for each person.
SELECT channel, since, makers FROM memberships INDEXED BY memberships_by_user
WHERE tenant = ?1 AND user = ?2 AND until IS NULL
