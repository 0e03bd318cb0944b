DELETE FROM client_secrets WHERE client_id = $1 AND secret_number = $2
