user_id, username, password_hash, password_changed_at, scope, roles, created_at, disabled_at,
mfa_required_at, password_temporary_at, last_login_at, imported_at, second_factors
