SELECT position FROM entries WHERE stream = ?1 AND "offset" = ?2
