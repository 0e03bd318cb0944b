-- Ends at most $3 sessions, and leaves $4 of them; it does not matter which. If $5 is 1, those that a second factor opened
-- are not concerned.
DELETE FROM sessions
WHERE session_id IN (
    SELECT session_id
    FROM sessions
    WHERE
        user_id = $1
        AND client_id = COALESCE($2, client_id)
        AND (CAST($5 AS BIGINT) = 0 OR second_factor_at IS NULL)
    LIMIT $3 OFFSET $4
)
