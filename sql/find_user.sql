-- For a name that no user has it is the row of another, so that both take as long, here and when the
-- password is verified. Which one depends on the name alone, as long as users stay. It is looked for in
-- any case; LIMIT keeps planners from putting that off.
SELECT
    users.user_id, users.username, users.password_hash, users.password_changed_at, users.scope,
    users.roles, users.created_at, users.disabled_at, users.mfa_required_at, users.last_login_at
FROM (
    SELECT COALESCE(
        (SELECT u.username FROM users AS u WHERE u.lot >= $2 ORDER BY u.lot LIMIT 1),
        (SELECT u.username FROM users AS u ORDER BY u.lot LIMIT 1)
    ) AS username
    LIMIT 1
) AS other
JOIN users ON users.username = COALESCE(
    (SELECT u.username FROM users AS u WHERE u.username = $1), other.username
)
