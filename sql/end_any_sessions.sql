DELETE FROM sessions
WHERE session_id IN (SELECT session_id FROM sessions ORDER BY session_id LIMIT $1)
