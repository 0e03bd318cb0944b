SELECT {counter}
FROM login_throttle
WHERE counter IN ($1, $2, $3, $4, $5, $6)
