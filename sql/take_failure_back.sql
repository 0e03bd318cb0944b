-- Whatever others have counted since stays.
UPDATE login_throttle
SET failures = failures - 1, forgotten_at = forgotten_at - $2
WHERE counter = $1 AND failures > 0
