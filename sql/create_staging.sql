-- Run on a private SQLite database: users on their way in.
CREATE TABLE staged_users (
    -- Counts from 1: several users may stand on one line. SQLite numbers a column of this type.
    staged_number INTEGER PRIMARY KEY,
    line BIGINT NOT NULL,
    username TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    scope TEXT,
    roles TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    mfa_required BIGINT NOT NULL,
    lot BIGINT NOT NULL,
    -- 1 if there is anything to store; the others are here so that their names are not met twice.
    wanted BIGINT NOT NULL
)
