SELECT s.id, s.head, coalesce(n.count, 0), coalesce(n.least, 0), coalesce(n.most, 0)
FROM streams s
LEFT JOIN (
    SELECT stream, count(*) AS count, min("offset") AS least, max("offset") AS most
    FROM entries
    GROUP BY stream
) n ON n.stream = s.id
-- One of which nothing is indexed yet has head 0.
WHERE (n.stream IS NULL AND s.head <> 0) OR n.least <> 1 OR n.most <> n.count OR n.most <> s.head
