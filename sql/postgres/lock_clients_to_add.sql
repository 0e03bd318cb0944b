-- Waits for transactions that add users (`lock_clients.sql`). Until the end of the transaction those and others that
-- add clients wait; readers do not.
LOCK TABLE clients IN SHARE ROW EXCLUSIVE MODE
