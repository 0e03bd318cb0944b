SELECT
    place, username, user_id, password_hash, scope, roles, second_factors, disabled, mfa_required, lot,
    created_at, last_login_at, staged_number
FROM staged_users
WHERE staged_number > $1 AND wanted = 1
ORDER BY staged_number
LIMIT $2
