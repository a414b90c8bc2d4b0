SELECT EXISTS (
    SELECT 1 FROM clicks WHERE person = ?1 AND position = (SELECT position FROM notifications WHERE id = ?2)
)
