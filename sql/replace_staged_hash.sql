UPDATE staged_users SET password_hash = $2 WHERE line = $1
