SELECT user_id, password_hash FROM users WHERE user_id > $1 ORDER BY user_id LIMIT $2
