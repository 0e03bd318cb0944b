-- $2 is set if only a session of this client may be ended.
DELETE FROM sessions
WHERE session_id = $1 AND client_id = COALESCE($2, client_id)
RETURNING user_id
