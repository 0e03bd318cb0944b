DELETE FROM login_throttle
WHERE counter IN (
    SELECT counter
    FROM login_throttle
    WHERE deletable_at <= $1
    ORDER BY deletable_at
    LIMIT $2
)
