SELECT count(*), count(*) FILTER (WHERE first > (SELECT position + 1 FROM head))
FROM epochs
