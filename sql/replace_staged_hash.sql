UPDATE staged_users SET password_hash = $2 WHERE staged_number = $1
