SELECT applied_at FROM schema_migrations WHERE version = $1
