SELECT * FROM (
    SELECT run, number, device, transport, began, "from", sent, acknowledged, first FROM connections
    WHERE person = ?1 ORDER BY first DESC, run DESC, number DESC LIMIT ?2
) ORDER BY first, run, number
