SELECT s.position, s.parts, count(p.number)
FROM snapshots s
LEFT JOIN snapshot_parts p ON p.position = s.position AND p.number < s.parts
GROUP BY s.position
HAVING count(p.number) <> s.parts
