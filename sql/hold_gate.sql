-- Locks the row until the end of the transaction, if that run still has it.
UPDATE write_gate SET run = run WHERE gate_id = 1 AND run = $1
