SELECT type, channel, count(*) FROM own JOIN notifications USING (position)
WHERE own.person = ?1 AND own.position > ?2 AND own.position <= ?3 AND (inbox OR NOT ?4)
GROUP BY type, channel ORDER BY type, channel
