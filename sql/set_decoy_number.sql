UPDATE users SET lot = $2 WHERE user_id = $1 AND lot = 0
