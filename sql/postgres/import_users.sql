-- As ../import_users.sql, for lists of users.
INSERT INTO users (
    username, user_id, password_hash, scope, roles, second_factors, disabled_at, mfa_required_at, lot,
    password_changed_at, created_at, last_login_at, imported_at
)
SELECT
    w.username, w.user_id, w.password_hash, w.scope, w.roles, w.second_factors, w.disabled_at,
    w.mfa_required_at, w.lot, w.created_at, w.created_at, w.last_login_at, w.imported_at
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS w (
    username, user_id, password_hash, scope, roles, second_factors, disabled_at, mfa_required_at, lot,
    created_at, last_login_at, imported_at
)
ON CONFLICT (username) DO UPDATE SET password_hash = excluded.password_hash
WHERE
    users.password_changed_at = users.created_at
    AND (users.last_login_at IS NULL OR users.last_login_at < users.imported_at)
