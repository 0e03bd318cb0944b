-- Takes the guard as it was seen: of several that saw the same, one succeeds.
UPDATE schema_migrations SET name = $1, applied_at = applied_at + 1
WHERE version = 0 AND name = $2 AND applied_at = $3
