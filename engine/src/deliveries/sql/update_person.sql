UPDATE people SET claims_issued_at = ?2, has_left = ?3, sent = ?4, delivered = ?5 WHERE id = ?1
