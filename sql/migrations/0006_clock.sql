-- The latest moment at which a replica knew what time it was. A clock that shows an earlier one is wrong, and one
-- that shows a much later one may be.
CREATE TABLE clock (
    -- Always 1: there is one row.
    clock_id BIGINT PRIMARY KEY,
    seen_at BIGINT NOT NULL
);
