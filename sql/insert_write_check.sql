-- This row is deleted in the same transaction, so nobody sees it. Each check has its own row, so no replica waits for
-- another.
INSERT INTO replicas (replica_id, settings, started_at, seen_at, stopped_at)
VALUES ($1, '{}', 0, 0, 0)
