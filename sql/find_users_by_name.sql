SELECT {user}
FROM users
WHERE username IN ($1)
