-- Clients that are named like a user's `sub`: there may be none.
SELECT client_id
FROM clients
WHERE EXISTS (SELECT 1 FROM users WHERE users.user_id = clients.client_id)
ORDER BY client_id
LIMIT 1
