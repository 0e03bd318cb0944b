-- The tables of Jeton. One text for SQLite and PostgreSQL: see ../README.md for the subset.
-- Times are seconds since the epoch; a state is a time that is there or not.

CREATE TABLE users (
    -- `sub`: made by Jeton, never reused.
    user_id TEXT PRIMARY KEY,
    -- In the form that RFC 8265 §3.3 makes of it, so that no two names look alike.
    username TEXT NOT NULL UNIQUE,
    -- A PHC string.
    password_hash TEXT NOT NULL,
    password_changed_at BIGINT NOT NULL,
    -- The most that any client can get for this user; NULL for no limit beside the client's own.
    scope TEXT,
    -- A JSON array of strings.
    roles TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    -- Set for a user who must use a second factor: the password grant is refused.
    mfa_required_at BIGINT
);

CREATE TABLE clients (
    client_id TEXT PRIMARY KEY,
    -- A JSON object: what `jeton client add` was told.
    settings TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT
);

CREATE TABLE client_secrets (
    client_id TEXT NOT NULL REFERENCES clients (client_id) ON DELETE CASCADE,
    -- Counts from 1 for each client; names the secret on the command line.
    secret_number BIGINT NOT NULL,
    -- SHA-256 of 256 random bits.
    secret_digest BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    -- To within an hour.
    last_used_at BIGINT,
    PRIMARY KEY (client_id, secret_number)
);

-- A login. It refers to its user and client without a foreign key, because the check would make
-- every login of one client lock the same row; a session without either is dead.
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    -- How often it was refreshed.
    generation BIGINT NOT NULL,
    scope TEXT NOT NULL,
    -- A JSON array of strings.
    audiences TEXT NOT NULL,
    -- When the password was checked.
    auth_time BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE INDEX sessions_by_user ON sessions (user_id, client_id);

CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE keys (
    kid TEXT PRIMARY KEY,
    -- `signing`.
    purpose TEXT NOT NULL,
    -- Counts from 1 for each purpose. That it is unique makes the next key a race with one winner.
    generation BIGINT NOT NULL,
    -- The public half as JSON.
    public_jwk TEXT NOT NULL,
    -- The private half as JWE under a master key that is not here.
    sealed_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    activates_at BIGINT NOT NULL,
    revoked_at BIGINT,
    UNIQUE (purpose, generation)
);
