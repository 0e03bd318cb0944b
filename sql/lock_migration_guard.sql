UPDATE schema_migrations SET applied_at = $1 WHERE version = 0
