-- Only if nothing changed since the password and the code were verified: a user who was disabled or got another
-- password meanwhile does not log in, and a code that another login used is not accepted again. Concurrent changes of
-- the user wait for this row.
UPDATE users
SET
    last_login_at = $3,
    password_hash = COALESCE($4, password_hash),
    second_factors = COALESCE($6, second_factors)
WHERE
    user_id = $1
    AND password_hash = $2
    AND second_factors IS NOT DISTINCT FROM $5
    AND disabled_at IS NULL
    AND (mfa_required_at IS NULL OR CAST($7 AS BIGINT) IS NOT NULL)
