-- Version -1 is no migration: its row counts how often it was written, so that each time something changes.
INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (-1, 'write check', '', 0)
ON CONFLICT (version) DO UPDATE SET applied_at = schema_migrations.applied_at + 1
