SELECT
    w.key,
    (
        SELECT e."offset"
        FROM entries e
        WHERE e.stream = w.value ->> 0 AND e.position <= w.value ->> 1
        ORDER BY e.position DESC
        LIMIT 1
    )
FROM json_each(?1) w
