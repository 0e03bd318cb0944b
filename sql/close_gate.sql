INSERT INTO write_gate (gate_id, reason, closed_below, closed_at, run, peer)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (gate_id) DO UPDATE
SET
    reason = excluded.reason,
    closed_below = excluded.closed_below,
    closed_at = excluded.closed_at,
    run = excluded.run,
    peer = excluded.peer
