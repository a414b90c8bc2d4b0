SELECT number FROM displaced WHERE person = ?1 AND lane = ?2 AND number > ?3 AND number <= ?4 ORDER BY number
