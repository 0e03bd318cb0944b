DELETE FROM replicas WHERE seen_at < $1
