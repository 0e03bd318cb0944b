-- A user whose `sub` is a client's name could be mistaken for that client (RFC 9068 §5).
INSERT INTO users (
    user_id, username, password_hash, password_changed_at, scope, roles, created_at, mfa_required_at,
    lot, disabled_at
)
SELECT $1, $2, $3, $4, CAST($5 AS TEXT), $6, $4, CAST($7 AS BIGINT), $8, CAST($9 AS BIGINT)
WHERE NOT EXISTS (SELECT 1 FROM clients WHERE client_id = $1)
ON CONFLICT (username) DO NOTHING
