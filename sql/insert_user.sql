INSERT INTO users (
    user_id, username, password_hash, password_changed_at, scope, roles, created_at, mfa_required_at,
    lot
)
VALUES ($1, $2, $3, $4, $5, $6, $4, $7, $8)
ON CONFLICT (username) DO NOTHING
