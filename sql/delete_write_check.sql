-- Deletes the row that the same transaction has inserted.
DELETE FROM replicas WHERE replica_id = $1
