DELETE FROM total_blocks WHERE lane = ?1 AND number = ?2
