SELECT
    line, username, user_id, password_hash, scope, roles, second_factors, disabled, mfa_required, lot,
    staged_number
FROM staged_users
WHERE staged_number > $1 AND wanted = 1
ORDER BY staged_number
LIMIT $2
