-- Whoever adds a user or a client writes this row first, and so waits for others that do: no client gets the name that
-- is a user's `sub` at the same moment. So does whoever writes a password hash without comparing it, or decides under which
-- data key hashes are sealed: all that is written later is sealed as it was decided. The row is no date. Most distributed engines have no lock on a table.
INSERT INTO clock (clock_id, seen_at)
VALUES (0, 1)
ON CONFLICT (clock_id) DO UPDATE SET seen_at = clock.seen_at + 1
