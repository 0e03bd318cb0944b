-- Takes the guard if it has not changed since it was read: of several runs, one succeeds.
UPDATE schema_migrations SET name = $1, applied_at = applied_at + 1
WHERE version = 0 AND name = $2 AND applied_at = $3
