-- Only if nothing was counted here since the row was read.
UPDATE login_throttle
SET
    failures = $2,
    failed_at = $3,
    forgotten_at = $4,
    deletable_at = CASE WHEN deletable_at > $8 THEN deletable_at ELSE $8 END
WHERE counter = $1 AND failures = $5 AND failed_at = $6 AND forgotten_at = $7
