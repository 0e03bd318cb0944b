SELECT {client}
FROM clients AS c
LEFT JOIN client_secrets AS s ON s.client_id = c.client_id
WHERE c.client_id IN ($1)
ORDER BY c.client_id, s.secret_number
