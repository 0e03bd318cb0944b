-- A secret that came from another service as a hash, in a format that can be verified; NULL for one of which the digest
-- is stored. Such a secret has an empty digest, which no secret has, so older programs refuse it.
ALTER TABLE client_secrets ADD COLUMN secret_hash TEXT;

-- When the user came from another service. What is older (`created_at`, `last_login_at`) was there, not here. NULL for a
-- user who was added here, or imported by an older version.
ALTER TABLE users ADD COLUMN imported_at BIGINT;
