UPDATE streams SET head = ?2, last = ?3 WHERE id = ?1
