-- Until the end of the transaction no client is added, changed or deleted: so a user's `sub` is not given to a
-- client meanwhile. Others may do the same at once. SQLite has one writer at a time anyway.
LOCK TABLE clients IN SHARE MODE
