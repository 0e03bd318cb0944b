-- A group's failures decay sooner, because one of its accounts has logged in.
UPDATE login_throttle
SET forgotten_at = forgotten_at - $2
WHERE counter = $1 AND forgotten_at > $3
