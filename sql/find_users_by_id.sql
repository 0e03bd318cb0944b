SELECT {user}
FROM users
WHERE user_id IN ($1)
