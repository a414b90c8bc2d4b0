-- What nothing but reading needs.

CREATE UNIQUE INDEX IF NOT EXISTS notifications_by_id ON notifications (id);

CREATE INDEX IF NOT EXISTS membership_changes ON concerns (position) WHERE joined IS NOT NULL OR "left" IS NOT NULL;
