SELECT replica_id, settings, started_at, seen_at, stopped_at
FROM replicas
ORDER BY started_at, replica_id
