INSERT INTO keys (kid, purpose, generation, public_jwk, sealed_key, created_at, activates_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (purpose, generation) DO NOTHING
