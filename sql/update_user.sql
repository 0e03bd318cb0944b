UPDATE users SET scope = $2, roles = $3, mfa_required_at = $4 WHERE user_id = $1
