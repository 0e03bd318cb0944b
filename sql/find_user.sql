SELECT
    {user},
    -- As in `find_data_key.sql`.
    (
        SELECT k.kid
        FROM keys AS k
        WHERE k.purpose = 'data' AND k.revoked_at IS NULL
        ORDER BY k.generation DESC
        LIMIT 1
    ) AS data_key_id
FROM users
-- For an unknown name, returns another user's row, so that this and the verification of the password take as long. As
-- long as the users stay the same, the name alone determines which row. That row is also read for a known name, because
-- it is in the FROM clause, which is always evaluated.
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
