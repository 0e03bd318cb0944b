-- Only a key that seals nothing. $2 is the beginning of what it seals.
DELETE FROM keys
WHERE
    kid = $1
    AND purpose = 'data'
    AND revoked_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM users WHERE substr(password_hash, 1, length(CAST($2 AS TEXT))) = $2)
    AND NOT EXISTS (
        SELECT 1 FROM client_secrets WHERE substr(secret_hash, 1, length(CAST($2 AS TEXT))) = $2
    )
