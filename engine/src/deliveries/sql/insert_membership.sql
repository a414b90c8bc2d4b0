INSERT INTO memberships VALUES (?1, ?2, ?3, ?4, NULL, ?5)
