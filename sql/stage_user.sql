INSERT INTO staged_users (
    line, username, user_id, password_hash, scope, roles, disabled, mfa_required, lot, wanted
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING
