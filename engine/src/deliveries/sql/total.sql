SELECT coalesce(sum(sent), 0), coalesce(sum(delivered), 0), coalesce(sum(read), 0) FROM (
    SELECT sent, delivered, read FROM total_blocks WHERE lane = ?1 AND number < ?3
    UNION ALL
    SELECT sent, delivered, read FROM totals WHERE lane = ?1 AND number >= ?3 * 1024 AND number <= ?2
)
