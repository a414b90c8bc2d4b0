SELECT channel, since, makers FROM memberships WHERE tenant = ?1 AND user = ?2 AND until IS NULL
