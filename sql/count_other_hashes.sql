-- How many hashes do not begin so.
SELECT COUNT(*) AS hashes FROM users WHERE substr(password_hash, 1, length(CAST($1 AS TEXT))) <> $1
