SELECT stream, "offset"
FROM (
    SELECT stream, "offset", position, lag(position) OVER (PARTITION BY stream ORDER BY "offset") AS before
    FROM entries
)
WHERE position <= before
