-- When a client was last used, to within an hour. Public clients have no secret whose use would tell it.
ALTER TABLE clients ADD COLUMN last_used_at BIGINT;

-- Since when the password is one that the user must change before the next login.
ALTER TABLE users ADD COLUMN password_temporary_at BIGINT;
