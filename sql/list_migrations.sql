SELECT version, checksum FROM schema_migrations WHERE version > 0 ORDER BY version
