-- Runs on a private SQLite database, in which an import checks its users.
CREATE TABLE staged_users (
    -- Counts from 1, because several users may be in one place. SQLite numbers a column of this type.
    staged_number INTEGER PRIMARY KEY,
    -- As it is shown to people.
    place TEXT NOT NULL,
    username TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    scope TEXT,
    roles TEXT NOT NULL,
    -- As they will be stored: sealed.
    second_factors TEXT,
    disabled BIGINT NOT NULL,
    mfa_required BIGINT NOT NULL,
    lot BIGINT NOT NULL,
    created_at BIGINT,
    last_login_at BIGINT,
    -- 1 if the user must be stored. The others are only here to find names that are used twice.
    wanted BIGINT NOT NULL
)
