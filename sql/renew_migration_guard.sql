UPDATE schema_migrations SET applied_at = applied_at + 1 WHERE version = 0 AND name = $1
