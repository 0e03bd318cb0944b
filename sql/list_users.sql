SELECT {user}
FROM users
WHERE username > $1
ORDER BY username
LIMIT $2
