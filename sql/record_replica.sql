-- Records that a replica runs, and its settings.
INSERT INTO replicas (replica_id, settings, started_at, seen_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (replica_id) DO UPDATE
SET settings = $2, seen_at = $4
