SELECT {counter}
FROM login_throttle
WHERE counter = $1 OR account = $1
