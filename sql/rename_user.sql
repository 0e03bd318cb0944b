-- Nothing is changed if another user has the new name.
UPDATE users SET username = $2
WHERE username = $1 AND NOT EXISTS (SELECT 1 FROM users AS other WHERE other.username = $2)
