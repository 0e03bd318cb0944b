DELETE FROM operator_acts
WHERE act_id IN (
    SELECT act_id
    FROM operator_acts
    WHERE acted_at <= $1
    ORDER BY acted_at, act_id
    LIMIT $2
)
