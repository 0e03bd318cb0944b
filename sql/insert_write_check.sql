-- A row that is deleted in the same transaction, so that nobody ever sees it. Each check has a row of its own:
-- no replica waits for another.
INSERT INTO replicas (replica_id, settings, started_at, seen_at, stopped_at)
VALUES ($1, '{}', 0, 0, 0)
