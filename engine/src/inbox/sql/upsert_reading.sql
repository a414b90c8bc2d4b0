INSERT OR REPLACE INTO readings
    (tenant, user, stream, joined, cursor, seen, read, unread, hidden, archived, pinned, snoozed, woken)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
