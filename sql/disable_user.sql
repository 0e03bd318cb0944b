UPDATE users SET disabled_at = COALESCE(disabled_at, $2) WHERE username = $1
RETURNING user_id
