DELETE FROM users WHERE username = $1
RETURNING user_id
