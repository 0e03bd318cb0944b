UPDATE clients SET settings = $2 WHERE client_id = $1
