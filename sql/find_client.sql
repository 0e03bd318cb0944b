SELECT
    c.client_id, c.settings, c.created_at, c.disabled_at, s.secret_number, s.secret_digest,
    s.created_at, s.expires_at, s.last_used_at
FROM clients AS c
LEFT JOIN client_secrets AS s ON s.client_id = c.client_id
WHERE c.client_id IN ($1)
ORDER BY c.client_id, s.secret_number
