SELECT user FROM people
WHERE tenant = ?1 AND known_since IS NOT NULL AND user > ?2
ORDER BY user
LIMIT ?3
