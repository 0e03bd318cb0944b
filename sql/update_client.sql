-- Compare and set: only a client whose settings have not changed since they were read.
UPDATE clients SET settings = $2 WHERE client_id = $1 AND settings = $3
