UPDATE replicas SET seen_at = $2, stopped_at = $2 WHERE replica_id = $1
