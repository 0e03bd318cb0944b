DELETE FROM clients WHERE client_id = $1
