-- The clients whose names are among these `sub`s of users. There should be none.
SELECT client_id
FROM clients
WHERE client_id IN ($1)
