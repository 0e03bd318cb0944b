-- The data key under which hashes are sealed now; none if they are stored as they are.
SELECT kid FROM keys WHERE purpose = 'data' AND revoked_at IS NULL ORDER BY generation DESC LIMIT 1
