-- How many hashes of client secrets do not begin so.
SELECT COUNT(*) AS hashes FROM client_secrets
WHERE secret_hash IS NOT NULL AND substr(secret_hash, 1, length(CAST($1 AS TEXT))) <> $1
