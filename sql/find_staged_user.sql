SELECT place, username FROM staged_users WHERE username = $1 OR user_id = $2 ORDER BY staged_number LIMIT 1
