-- Sessions that can be refreshed. One that has ended has no row; only those that have expired wait for
-- their deletion. No released version knows `revoked_at`.

DELETE FROM sessions WHERE revoked_at IS NOT NULL;

ALTER TABLE sessions DROP COLUMN revoked_at;

-- When it was opened or last refreshed: which key derives its token, and for how long the token before
-- is answered again, follow from it.
ALTER TABLE sessions ADD COLUMN refreshed_at BIGINT NOT NULL DEFAULT 0;

-- Its absolute end, which no refresh moves. `expires_at` is its end unless it is refreshed.
ALTER TABLE sessions ADD COLUMN ends_at BIGINT NOT NULL DEFAULT 0;

-- From when on the row may be deleted: `expires_at`, rounded up to an hour. So most refreshes change no
-- indexed column, and PostgreSQL writes no index for them (heap-only tuples).
ALTER TABLE sessions ADD COLUMN deletable_at BIGINT NOT NULL DEFAULT 0;

UPDATE sessions SET refreshed_at = auth_time, ends_at = expires_at, deletable_at = expires_at;

DROP INDEX sessions_by_expiry;

CREATE INDEX sessions_by_deletion ON sessions (deletable_at);

CREATE INDEX sessions_by_client ON sessions (client_id);

-- Written by every login, which thereby meets whatever changes the user at the same moment.
ALTER TABLE users ADD COLUMN last_login_at BIGINT;
