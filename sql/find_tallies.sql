SELECT counter, failures, failed_at, forgotten_at, succeeded_at
FROM login_throttle
WHERE counter IN ($1, $2, $3, $4)
