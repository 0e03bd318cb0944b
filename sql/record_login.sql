-- Only if nothing changed since the password was verified: a user who was disabled or got another password meanwhile
-- does not log in. Concurrent changes of the user wait for this row.
UPDATE users
SET last_login_at = $3, password_hash = COALESCE($4, password_hash)
WHERE
    user_id = $1
    AND password_hash = $2
    AND disabled_at IS NULL
    AND mfa_required_at IS NULL
