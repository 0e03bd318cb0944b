-- Waits while the gate is being closed, before the transaction sees anything: this statement alone takes no snapshot.
LOCK TABLE write_gate IN ACCESS SHARE MODE
