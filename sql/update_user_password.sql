UPDATE users SET password_hash = $2, password_changed_at = $3, password_temporary_at = CAST($4 AS BIGINT)
WHERE username = $1 AND password_hash = COALESCE($5, password_hash)
RETURNING user_id
