-- An act that is done in slices has one row, which counts them together.
INSERT INTO operator_acts (
    act_id, acted_at, deed, "system_user", login_user, host, claimed_name, username, user_id, client_id, object, changed,
    affected
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (act_id) DO UPDATE SET affected = operator_acts.affected + excluded.affected
