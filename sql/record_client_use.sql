-- Of several that note the same use, the first one writes.
UPDATE clients SET last_used_at = $2
WHERE client_id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)
