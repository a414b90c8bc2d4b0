INSERT INTO snoozes VALUES (?1, ?2, ?3, ?4, NULL) ON CONFLICT (person, position) DO UPDATE
SET snoozed_at = excluded.snoozed_at
