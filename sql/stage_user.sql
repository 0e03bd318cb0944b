INSERT INTO staged_users (
    line, username, user_id, password_hash, scope, roles, second_factors, disabled, mfa_required, lot, wanted
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT DO NOTHING
