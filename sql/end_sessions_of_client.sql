DELETE FROM sessions
WHERE session_id IN (SELECT session_id FROM sessions WHERE client_id = $1 LIMIT $2)
