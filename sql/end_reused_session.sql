-- Compare and delete: only a session that has not changed since it was judged.
DELETE FROM sessions
WHERE session_id = $1 AND generation = $2
