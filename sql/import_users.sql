-- A user who exists, and has neither logged in nor got a password here, gets the file's current hash. Nothing else of
-- an existing user is changed.
INSERT INTO users (
    username, user_id, password_hash, scope, roles, second_factors, disabled_at, mfa_required_at, lot,
    password_changed_at, created_at, last_login_at, imported_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12)
ON CONFLICT (username) DO UPDATE SET password_hash = excluded.password_hash
WHERE
    users.password_changed_at = users.created_at
    AND (users.last_login_at IS NULL OR users.last_login_at < users.imported_at)
