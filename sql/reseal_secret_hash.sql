-- Compare and set: the first use of the secret may have come first.
UPDATE client_secrets SET secret_hash = $4
WHERE client_id = $1 AND secret_number = $2 AND secret_hash = $3
