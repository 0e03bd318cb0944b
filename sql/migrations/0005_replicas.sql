-- Processes of `jeton serve` that share this database. Each says here what others must know of how it
-- publishes: when a new key may sign depends on the replica whose key set is cached for longest.

CREATE TABLE replicas (
    -- Random at each start of `jeton serve`.
    replica_id TEXT PRIMARY KEY,
    -- A JSON object: see `ReplicaSettings` in src/store/replicas.rs.
    settings TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    -- The last time it said that it runs.
    seen_at BIGINT NOT NULL,
    -- Set when it was stopped in an orderly way. The row stays for a day: what it published is cached.
    stopped_at BIGINT
);
