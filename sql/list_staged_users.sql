SELECT line, username, user_id, password_hash, scope, roles, disabled, mfa_required, lot
FROM staged_users
WHERE line > $1 AND wanted = 1
ORDER BY line
LIMIT $2
