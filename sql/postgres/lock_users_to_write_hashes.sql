-- Until the end of the transaction, hashes are sealed under the same data key as now (`lock_users_to_seal.sql`). Several
-- transactions can hold this lock at the same time; every statement that changes users takes it too.
LOCK TABLE users IN ROW EXCLUSIVE MODE
