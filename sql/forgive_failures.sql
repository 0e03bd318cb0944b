-- The failures of an account are no longer in a row. When the next attempt may be made does not change.
UPDATE login_throttle
SET failures = 0
WHERE counter = $1 AND failures > 0
