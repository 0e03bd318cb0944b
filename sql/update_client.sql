-- Compare and set: only a client whose settings are still as they were read.
UPDATE clients SET settings = $2 WHERE client_id = $1 AND settings = $3
