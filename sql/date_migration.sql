UPDATE schema_migrations SET applied_at = $2 WHERE version = $1
