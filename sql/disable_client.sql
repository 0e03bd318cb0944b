UPDATE clients SET disabled_at = COALESCE(disabled_at, $2) WHERE client_id = $1
