-- Version 0 is not a migration but the guard. `name` is the run that holds it, or 'guard' if it is free. `checksum` is
-- how far the next migration is. `applied_at` is a number that changes while the run lives.
INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (0, 'guard', '', $1)
ON CONFLICT (version) DO NOTHING
