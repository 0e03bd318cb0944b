-- Ends the oldest sessions of a user and client beyond the limit, but not the one just opened. $4 is how many others
-- may stay. Sessions that had expired at $5 are not counted.
DELETE FROM sessions
WHERE session_id IN (
    SELECT session_id
    FROM sessions
    WHERE user_id = $1 AND client_id = $2 AND session_id <> $3 AND expires_at > $5
    ORDER BY auth_time DESC, session_id
    LIMIT 10000 OFFSET $4
)
RETURNING session_id
