-- Fails if this program may not write: a reason is no number. It is sent with the BEGIN of each transaction that
-- writes. So until that transaction ends it holds a lock of this table, for which lock_gate.sql waits. {known} is the
-- newest migration that this program knows.
SELECT CAST(reason AS BIGINT) AS closed FROM write_gate WHERE closed_below > {known}
