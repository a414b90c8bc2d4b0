SELECT
    s.id, s.tenant, s.owner, s.channels, coalesce(s.head, n."offset"), s.first, coalesce(s.last, n.position), s.retracted
FROM streams s
LEFT JOIN entries n
    ON s.owner IS NOT NULL AND n.stream = s.id AND n."offset" = (SELECT max("offset") FROM entries WHERE stream = s.id)
ORDER BY s.id
