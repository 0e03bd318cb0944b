-- Compare and set: a login or a change of password that came first stays.
UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2
