UPDATE memberships SET until = ?5, makers = 0 WHERE tenant = ?1 AND channel = ?2 AND user = ?3 AND since = ?4
