-- Only if nothing changed since the password was verified: a user who was disabled or got another
-- password meanwhile, or a client that was disabled, gets no session.
INSERT INTO sessions (
    session_id, user_id, client_id, generation, scope, audiences, auth_time, expires_at
)
SELECT
    $1, u.user_id, c.client_id, 0, $4, $5, $6, $7
FROM users AS u, clients AS c
WHERE
    u.user_id = $2
    AND u.password_hash = $8
    AND u.disabled_at IS NULL
    AND u.mfa_required_at IS NULL
    AND c.client_id = $3
    AND c.disabled_at IS NULL
