-- What was changed with the command line: a row for each act, written in the transaction of the change. The service
-- writes none, so nobody outside causes a row.
CREATE TABLE operator_acts (
    act_id TEXT PRIMARY KEY,
    acted_at BIGINT NOT NULL,
    -- What was done: see `Deed` in src/store/operator_acts.rs.
    deed TEXT NOT NULL,
    -- The user of the operating system that ran the command, and the host.
    "system_user" TEXT NOT NULL,
    -- The user that logged in to the host, where the system knows it.
    login_user TEXT,
    host TEXT NOT NULL,
    -- What `--as` claimed. Nothing checks it.
    claimed_name TEXT,
    -- On whom or what. A name may be another's later, an id is not.
    username TEXT,
    user_id TEXT,
    client_id TEXT,
    -- The session, the key, or the number of the secret.
    object TEXT,
    -- A JSON array with the names of what was changed; no values.
    changed TEXT NOT NULL,
    -- How many sessions, users, keys or rows.
    affected BIGINT NOT NULL
);

CREATE INDEX operator_acts_by_time ON operator_acts (acted_at, act_id);
