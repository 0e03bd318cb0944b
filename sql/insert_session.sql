INSERT INTO sessions (
    session_id, user_id, client_id, generation, scope, audiences, auth_time, refreshed_at,
    expires_at, ends_at, deletable_at, second_factor_at
)
SELECT
    $1, $2, c.client_id, 0, $4, $5, $6, $6, $7, $8, $9, CAST($10 AS BIGINT)
FROM clients AS c
WHERE
    c.client_id = $3
    AND c.disabled_at IS NULL
