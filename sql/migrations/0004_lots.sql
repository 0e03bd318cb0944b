-- A random number that is not 0; users who were there before get one from the service. For a name that no
-- user has, the user whose number comes next after one that depends on the name is looked at, so that a wrong
-- password costs there what it costs elsewhere.
ALTER TABLE users ADD COLUMN lot BIGINT NOT NULL DEFAULT 0;

-- With the name, so that the row of that user is read as often as the row of a user who was found.
CREATE INDEX users_by_lot ON users (lot, username);
