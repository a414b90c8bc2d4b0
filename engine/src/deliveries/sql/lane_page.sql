SELECT DISTINCT user FROM memberships
WHERE tenant = ?1 AND channel = ?2 AND user > ?3 AND since < ?4 AND (until IS NULL OR until > ?4)
ORDER BY user LIMIT ?5
