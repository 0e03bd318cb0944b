-- Compare and set for many sessions, as refresh_session.sql does for one. Rows that another transaction has locked are
-- skipped, so no session delays another, and this statement is never part of a deadlock.
UPDATE sessions
SET
    generation = free.next_generation,
    refreshed_at = free.refreshed_at,
    expires_at = free.expires_at,
    deletable_at = free.deletable_at
FROM (
    SELECT
        s.session_id, w.generation, w.next_generation, w.refreshed_at, w.expires_at, w.deletable_at
    FROM unnest($1, $2, $3, $4, $5, $6) AS w (
        session_id, generation, next_generation, refreshed_at, expires_at, deletable_at
    )
    INNER JOIN sessions AS s ON s.session_id = w.session_id
    WHERE
        s.generation = w.generation
        AND s.expires_at > w.refreshed_at
        AND EXISTS (
            SELECT 1
            FROM users AS u
            WHERE
                u.user_id = s.user_id
                AND u.disabled_at IS NULL
                AND (u.mfa_required_at IS NULL OR s.second_factor_at IS NOT NULL)
        )
        AND EXISTS (
            SELECT 1
            FROM clients AS c
            WHERE c.client_id = s.client_id AND c.disabled_at IS NULL
        )
    FOR UPDATE OF s SKIP LOCKED
) AS free
WHERE sessions.session_id = free.session_id AND sessions.generation = free.generation
RETURNING sessions.session_id
