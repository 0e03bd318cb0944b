-- Version 0 is no migration but the guard: `name` is the run that works, or 'guard' for none; `checksum` is how far
-- the next migration is; `applied_at` is a number that changes as long as the run lives.
INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (0, 'guard', '', $1)
ON CONFLICT (version) DO NOTHING
