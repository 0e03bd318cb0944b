SELECT
    session_id, client_id, generation, scope, audiences, auth_time, refreshed_at, expires_at, ends_at
FROM sessions
WHERE user_id = $1 AND client_id = COALESCE($2, client_id) AND expires_at > $3
ORDER BY auth_time, session_id
