UPDATE users SET disabled_at = $2 WHERE username = $1 AND disabled_at IS NULL
