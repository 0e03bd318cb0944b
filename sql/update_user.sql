-- Compare and set: only a user who has not changed since the row was read.
UPDATE users SET scope = $2, roles = $3, mfa_required_at = $4
WHERE
    user_id = $1
    AND scope IS NOT DISTINCT FROM $5
    AND roles = $6
    AND mfa_required_at IS NOT DISTINCT FROM $7
