SELECT position, epoch, format, fold, made_at, parts, bytes
FROM snapshots
ORDER BY position DESC
