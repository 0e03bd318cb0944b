UPDATE client_secrets SET last_used_at = $3 WHERE client_id = $1 AND secret_number = $2
