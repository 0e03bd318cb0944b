-- What failed in a group of accounts is forgotten sooner, because one of them got in.
UPDATE login_throttle
SET forgotten_at = forgotten_at - $2
WHERE counter = $1 AND forgotten_at > $3
