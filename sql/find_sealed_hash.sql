-- A user whose hash begins so.
SELECT user_id, password_hash FROM users
WHERE substr(password_hash, 1, length(CAST($1 AS TEXT))) = $1 LIMIT 1
