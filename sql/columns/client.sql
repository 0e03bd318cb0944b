c.client_id, c.settings, c.created_at, c.disabled_at, c.last_used_at AS client_last_used_at, s.secret_number, s.secret_digest,
s.secret_hash, s.created_at AS secret_created_at, s.expires_at AS secret_expires_at, s.last_used_at
