-- All clients, or those of which nothing tells that they were used after $1: neither they themselves nor a secret, nor a
-- session that still has a row.
SELECT {client}
FROM clients AS c
LEFT JOIN client_secrets AS s ON s.client_id = c.client_id
WHERE
    CAST($1 AS BIGINT) IS NULL
    OR (
        COALESCE(c.last_used_at, c.created_at) <= $1
        AND c.created_at <= $1
        AND NOT EXISTS (
            SELECT 1
            FROM client_secrets AS used
            WHERE used.client_id = c.client_id AND used.last_used_at > $1
        )
        AND NOT EXISTS (
            SELECT 1
            FROM sessions AS opened
            WHERE opened.client_id = c.client_id AND opened.refreshed_at > $1
        )
    )
ORDER BY c.client_id, s.secret_number
