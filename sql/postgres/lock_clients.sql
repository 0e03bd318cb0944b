-- No client is added, changed or deleted until the end of the transaction, so no client can take a user's `sub` as its
-- name. Several transactions can hold this lock at the same time.
LOCK TABLE clients IN SHARE MODE
