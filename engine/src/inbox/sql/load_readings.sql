SELECT
    w.key, r.stream, r.joined, r.cursor, r.seen, r.read, r.unread, r.hidden, r.archived, r.pinned, r.snoozed, r.woken
FROM json_each(?1) w
CROSS JOIN readings r ON r.tenant = w.value ->> 0 AND r.user = w.value ->> 1
