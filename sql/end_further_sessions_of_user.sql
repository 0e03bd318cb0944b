-- Ends at most $3 sessions, and leaves $4 of them; it does not matter which.
DELETE FROM sessions
WHERE session_id IN (
    SELECT session_id
    FROM sessions
    WHERE user_id = $1 AND client_id = COALESCE($2, client_id)
    LIMIT $3 OFFSET $4
)
