SELECT COUNT(*) AS sessions FROM sessions WHERE client_id = COALESCE($1, client_id)
