DELETE FROM write_gate WHERE gate_id = 1 AND run = $1
