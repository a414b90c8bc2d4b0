INSERT OR REPLACE INTO epochs (first, epoch)
SELECT position + 1, ?1 FROM head
