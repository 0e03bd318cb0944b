-- The authenticators and recovery codes of a user: a JSON object, see src/oauth/second_factor.rs. NULL for a user who
-- has none. It is one value, so that the login that accepts a code compares and sets it with the user's row.
ALTER TABLE users ADD COLUMN second_factors TEXT;

-- When the login that opened the session used a second factor; NULL if it used none.
ALTER TABLE sessions ADD COLUMN second_factor_at BIGINT;
