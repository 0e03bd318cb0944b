UPDATE users SET disabled_at = NULL WHERE username = $1
RETURNING user_id
