DELETE FROM sessions
WHERE session_id IN (
    SELECT session_id
    FROM sessions
    WHERE deletable_at <= $1
    ORDER BY deletable_at
    LIMIT $2
)
