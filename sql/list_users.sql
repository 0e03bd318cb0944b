-- What is not asked for is a pattern that all have, 0 or NULL. A role is found in the JSON of all roles, perhaps as a
-- part of others, so whoever asks for one looks again.
SELECT {user}
FROM users
WHERE
    username > $1
    AND username LIKE $3 ESCAPE '\'
    AND roles LIKE $4 ESCAPE '\'
    AND (CAST($5 AS BIGINT) = 0 OR disabled_at IS NOT NULL)
    AND (
        CAST($6 AS BIGINT) IS NULL
        OR (
            COALESCE(last_login_at, created_at) <= $6
            AND COALESCE(imported_at, created_at) <= $6
            AND NOT EXISTS (
                SELECT 1
                FROM sessions AS s
                WHERE s.user_id = users.user_id AND s.refreshed_at > $6
            )
        )
    )
ORDER BY username
LIMIT $2
