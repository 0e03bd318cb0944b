SELECT {user}
FROM users
-- For a name that no user has it is the row of another, so that both take as long, here and when the
-- password is verified. Which one depends on the name alone, as long as users stay. The other is looked up
-- for names of users too: it stands in the FROM, which is always evaluated.
WHERE username = (
    SELECT COALESCE((SELECT u.username FROM users AS u WHERE u.username = $1), other.username)
    FROM (
        SELECT next.username
        FROM (SELECT u.username FROM users AS u WHERE u.lot >= $2 ORDER BY u.lot LIMIT 1) AS next
        UNION ALL
        SELECT first.username
        FROM (SELECT u.username FROM users AS u ORDER BY u.lot LIMIT 1) AS first
        LIMIT 1
    ) AS other
)
