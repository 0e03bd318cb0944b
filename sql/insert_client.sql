-- A client that is named like a user's `sub` could be mistaken for that user (RFC 9068 §5).
INSERT INTO clients (client_id, settings, created_at, disabled_at)
SELECT $1, $2, $3, CAST($4 AS BIGINT)
WHERE NOT EXISTS (SELECT 1 FROM users WHERE user_id = $1)
ON CONFLICT (client_id) DO NOTHING
