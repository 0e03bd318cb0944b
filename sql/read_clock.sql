SELECT seen_at FROM clock WHERE clock_id = 1
