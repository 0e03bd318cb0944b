-- Compare and set: of several concurrent refreshes of a session, only one finds the generation that it has read.
UPDATE sessions
SET generation = $3, refreshed_at = $4, expires_at = $5, deletable_at = $6
WHERE
    session_id = $1
    AND generation = $2
    AND expires_at > $4
    AND EXISTS (
        SELECT 1
        FROM users AS u
        WHERE
            u.user_id = sessions.user_id
            AND u.disabled_at IS NULL
            AND (u.mfa_required_at IS NULL OR sessions.second_factor_at IS NOT NULL)
    )
    AND EXISTS (
        SELECT 1
        FROM clients AS c
        WHERE c.client_id = sessions.client_id AND c.disabled_at IS NULL
    )
