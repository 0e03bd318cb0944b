-- An account that logged in at an origin for the first time makes up for one that failed to.
UPDATE login_throttle
SET forgotten_at = forgotten_at - $2
WHERE counter = $1 AND forgotten_at > $3
