UPDATE keys SET activates_at = $2
WHERE kid = $1 AND activates_at > $2 AND revoked_at IS NULL
