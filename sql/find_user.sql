SELECT
    user_id, username, password_hash, password_changed_at, scope, roles, created_at, disabled_at,
    mfa_required_at, last_login_at
FROM users
-- For a name that no user has it is the row of another, so that both take as long.
WHERE username = COALESCE(
    (SELECT u.username FROM users AS u WHERE u.username = $1),
    (SELECT min(u.username) FROM users AS u)
)
