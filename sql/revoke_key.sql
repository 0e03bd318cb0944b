UPDATE keys SET revoked_at = $2 WHERE kid = $1 AND revoked_at IS NULL
