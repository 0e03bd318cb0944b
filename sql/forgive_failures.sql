-- The failures of an account are no longer in a row. This does not change when the next attempt may be made.
UPDATE login_throttle
SET failures = 0
WHERE counter = $1 AND failures > 0
