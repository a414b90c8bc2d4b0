SELECT position, joined, "left", tenant, channel
FROM concerns
WHERE position > ?1 AND (joined IS NOT NULL OR "left" IS NOT NULL)
ORDER BY position
