-- The client is given where it may only end its own.
DELETE FROM sessions
WHERE session_id = $1 AND client_id = COALESCE($2, client_id)
RETURNING user_id
