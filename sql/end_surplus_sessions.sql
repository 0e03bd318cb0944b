-- Ends the oldest sessions of a user and client beyond the number that is allowed, never the one that
-- was just opened: $4 is how many others may stay. One that has expired by $5 takes no one's place.
DELETE FROM sessions
WHERE session_id IN (
    SELECT session_id
    FROM sessions
    WHERE user_id = $1 AND client_id = $2 AND session_id <> $3 AND expires_at > $5
    ORDER BY auth_time DESC, session_id
    LIMIT 10000 OFFSET $4
)
RETURNING session_id
