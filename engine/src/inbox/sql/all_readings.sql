SELECT user, stream, joined, cursor, seen, read, unread, hidden, archived, pinned, snoozed, woken, tenant
FROM readings
ORDER BY tenant, user, stream
