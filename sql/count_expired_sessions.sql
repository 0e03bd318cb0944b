SELECT COUNT(*) FROM sessions WHERE deletable_at <= $1
