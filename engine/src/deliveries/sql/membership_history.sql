SELECT since, until FROM memberships WHERE tenant = ?1 AND channel = ?2 AND user = ?3 ORDER BY since
