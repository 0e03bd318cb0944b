SELECT
    kid, purpose, generation, public_jwk, sealed_key, created_at, activates_at, revoked_at
FROM keys
ORDER BY purpose, generation
