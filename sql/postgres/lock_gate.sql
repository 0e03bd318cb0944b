-- Waits for all transactions that have passed the gate. Others wait until the end of this one, and then see what it wrote.
LOCK TABLE write_gate IN ACCESS EXCLUSIVE MODE
