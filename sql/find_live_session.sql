SELECT u.username
FROM sessions AS s
INNER JOIN users AS u ON u.user_id = s.user_id
INNER JOIN clients AS c ON c.client_id = s.client_id
WHERE
    s.session_id = $1
    AND s.user_id = $2
    AND s.client_id = $3
    AND s.expires_at > $4
    AND s.revoked_at IS NULL
    AND u.disabled_at IS NULL
    AND c.disabled_at IS NULL
