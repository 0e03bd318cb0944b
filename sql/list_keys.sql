SELECT kid, generation, public_jwk, sealed_key, created_at, activates_at, revoked_at
FROM keys
WHERE purpose = $1
ORDER BY generation
