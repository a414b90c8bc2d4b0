SELECT person, device, transport, began, "from", sent, acknowledged, first, last FROM connections
WHERE run = ?1 AND number = ?2
