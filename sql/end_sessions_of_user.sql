DELETE FROM sessions WHERE user_id = $1 AND client_id = COALESCE($2, client_id)
