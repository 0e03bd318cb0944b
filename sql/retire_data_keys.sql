-- No hash is sealed any more under a data key other than this one.
UPDATE keys SET revoked_at = $1
WHERE purpose = 'data' AND revoked_at IS NULL AND kid IS DISTINCT FROM CAST($2 AS TEXT)
