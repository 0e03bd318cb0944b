SELECT gate_id, reason, closed_below, closed_at, run, peer FROM write_gate ORDER BY gate_id
