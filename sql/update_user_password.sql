UPDATE users SET password_hash = $2, password_changed_at = $3 WHERE username = $1
RETURNING user_id
