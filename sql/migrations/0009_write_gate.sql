-- Why some programs, or all, may not write: a row for each reason, and none while everybody may. Each transaction that
-- writes reads this table first.
CREATE TABLE write_gate (
    -- 1: `jeton db copy`. 2: a migration after which programs of before must not write.
    gate_id BIGINT PRIMARY KEY,
    -- `copying`, `moved`, `unfinished` or `outdated`: see `Closure` in src/store/gate.rs.
    reason TEXT NOT NULL,
    -- Programs that know fewer migrations than this may not write.
    closed_below BIGINT NOT NULL,
    closed_at BIGINT NOT NULL,
    -- The run of the program that closed it, which alone may change the row.
    run TEXT NOT NULL,
    -- The other database of a copy, without its password.
    peer TEXT NOT NULL
);
