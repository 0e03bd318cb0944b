-- Those of these names that are the `sub` of a user.
SELECT user_id
FROM users
WHERE user_id IN ($1)
