-- Compare and set: another request may have replaced the hash first, with the same digest.
UPDATE client_secrets SET secret_digest = $4, secret_hash = NULL
WHERE client_id = $1 AND secret_number = $2 AND secret_hash = $3
