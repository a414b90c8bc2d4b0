SELECT after, up_to FROM reads WHERE person = ?1 AND lane = ?2 AND up_to > ?3 AND after < ?4 ORDER BY after
