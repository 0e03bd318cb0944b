DELETE FROM sessions WHERE client_id = $1
