-- The date never moves backwards here, because another replica may have recorded a later one.
INSERT INTO clock (clock_id, seen_at)
VALUES (1, $1)
ON CONFLICT (clock_id) DO UPDATE
SET seen_at = CASE WHEN clock.seen_at > excluded.seen_at THEN clock.seen_at ELSE excluded.seen_at END
RETURNING seen_at
