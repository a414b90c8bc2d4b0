DELETE FROM totals WHERE lane = ?1 AND number = ?2
