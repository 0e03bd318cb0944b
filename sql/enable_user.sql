UPDATE users SET disabled_at = NULL WHERE username = $1 AND disabled_at IS NOT NULL
