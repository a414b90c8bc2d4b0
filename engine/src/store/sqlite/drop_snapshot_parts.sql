DELETE FROM snapshot_parts
WHERE rowid IN (
    SELECT p.rowid
    FROM snapshot_parts p
    WHERE NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.position = p.position AND p.number < s.parts)
    LIMIT ?1
)
