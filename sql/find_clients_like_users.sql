-- Of these `sub`s of users those that are names of clients: there may be none.
SELECT client_id
FROM clients
WHERE client_id IN ($1)
