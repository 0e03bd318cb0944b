UPDATE clients SET disabled_at = $2 WHERE client_id = $1 AND disabled_at IS NULL
