-- As ../replace_hash.sql, for lists of users.
UPDATE users SET password_hash = w.after
FROM unnest($1, $2, $3) AS w (user_id, before, after)
WHERE users.user_id = w.user_id AND users.password_hash = w.before
