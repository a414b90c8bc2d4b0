SELECT stream, joined, cursor, seen, read, unread, hidden, archived, pinned
FROM readings
WHERE tenant = ?1 AND user = ?2
