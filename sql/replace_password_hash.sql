-- The same password in a better form; whoever changed it meanwhile wins.
UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2
