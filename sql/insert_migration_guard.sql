-- Version 0 is no migration: whoever updates its row first goes first.
INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (0, 'guard', '', $1)
ON CONFLICT (version) DO NOTHING
