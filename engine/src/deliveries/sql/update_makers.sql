UPDATE memberships SET makers = ?5 WHERE tenant = ?1 AND channel = ?2 AND user = ?3 AND since = ?4
