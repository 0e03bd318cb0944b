-- If two secrets are added at the same moment, one of them finds its number taken and is added again.
INSERT INTO client_secrets (
    client_id, secret_number, secret_digest, created_at, expires_at, secret_hash
)
SELECT
    c.client_id,
    COALESCE((SELECT MAX(s.secret_number) FROM client_secrets AS s WHERE s.client_id = $1), 0) + 1,
    $2,
    CAST($3 AS BIGINT),
    CAST($4 AS BIGINT),
    CAST($5 AS TEXT)
FROM clients AS c
WHERE c.client_id = $1
ON CONFLICT (client_id, secret_number) DO NOTHING
RETURNING secret_number
