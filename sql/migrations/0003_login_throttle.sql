-- Failures to log in and to authenticate, counted for all replicas together.

CREATE TABLE login_throttle (
    -- A keyed hash of what is counted: see src/oauth/throttle.rs.
    counter BYTEA PRIMARY KEY,
    -- The counter of the account, if this one counts its failures at one origin.
    account BYTEA,
    -- Failures since the last success.
    failures BIGINT NOT NULL,
    -- When the last of them was.
    failed_at BIGINT NOT NULL,
    -- When all of them will be forgotten: each adds a quarter of an hour.
    forgotten_at BIGINT NOT NULL,
    -- The last login of the account at the origin, which makes it a known one.
    succeeded_at BIGINT,
    -- From when on the row says nothing.
    deletable_at BIGINT NOT NULL
);

CREATE INDEX login_throttle_by_account ON login_throttle (account);

CREATE INDEX login_throttle_by_deletion ON login_throttle (deletable_at);
