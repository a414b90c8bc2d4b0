DELETE FROM epochs
WHERE first <= (SELECT first FROM epochs ORDER BY first DESC LIMIT 1 OFFSET ?1)
