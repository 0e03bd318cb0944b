-- Waits for those who add users (`lock_clients.sql`), and has them and others who add clients wait. Readers do not.
LOCK TABLE clients IN SHARE ROW EXCLUSIVE MODE
