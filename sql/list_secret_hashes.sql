-- The hashes of client secrets that came from another service and were not used since.
SELECT client_id, secret_number, secret_hash FROM client_secrets
WHERE secret_hash IS NOT NULL ORDER BY client_id, secret_number
