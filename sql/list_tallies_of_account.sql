SELECT counter, failures, failed_at, forgotten_at, succeeded_at
FROM login_throttle
WHERE counter = $1 OR account = $1
