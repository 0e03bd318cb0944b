-- A random number. For a name that no user has, the user whose number comes next after one that depends on
-- the name is looked at, so that a wrong password costs there what it costs elsewhere.
ALTER TABLE users ADD COLUMN lot BIGINT NOT NULL DEFAULT 0;

CREATE INDEX users_by_lot ON users (lot);
