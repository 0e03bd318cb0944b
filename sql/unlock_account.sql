UPDATE login_throttle
SET failures = 0, failed_at = 0, forgotten_at = 0
WHERE (counter = $1 OR account = $1) AND (failures > 0 OR forgotten_at > 0)
