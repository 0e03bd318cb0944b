-- $2 and $3 are the name and the id of a user, $4 is a client; any of them may be null. $5 and $6 are the act after
-- which the page begins.
SELECT
    act_id, acted_at, deed, "system_user", login_user, host, claimed_name, username, user_id, client_id, object, changed,
    affected
FROM operator_acts
WHERE
    acted_at >= $1
    AND (CAST($2 AS TEXT) IS NULL OR username = $2 OR user_id = CAST($3 AS TEXT))
    AND (CAST($4 AS TEXT) IS NULL OR client_id = $4)
    AND (acted_at > $5 OR (acted_at = $5 AND act_id > $6))
ORDER BY acted_at, act_id
LIMIT $7
