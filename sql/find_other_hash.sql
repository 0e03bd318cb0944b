-- A user whose hash does not begin so.
SELECT user_id FROM users WHERE substr(password_hash, 1, length(CAST($1 AS TEXT))) <> $1 LIMIT 1
