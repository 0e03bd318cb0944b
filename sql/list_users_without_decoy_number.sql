SELECT user_id FROM users WHERE lot = 0 LIMIT $1
