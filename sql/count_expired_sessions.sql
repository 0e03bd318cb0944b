SELECT COUNT(*) AS sessions FROM sessions WHERE deletable_at <= $1
