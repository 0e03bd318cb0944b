INSERT INTO staged_users (
    place, username, user_id, password_hash, scope, roles, second_factors, disabled, mfa_required, lot,
    created_at, last_login_at, wanted
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING
