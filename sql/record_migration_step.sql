UPDATE schema_migrations SET checksum = $2, applied_at = applied_at + 1 WHERE version = 0 AND name = $1
