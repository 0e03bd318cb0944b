-- A login of an account from an origin. The origin is known from now on, and failures there are forgotten.
INSERT INTO login_throttle
    (counter, account, failures, failed_at, forgotten_at, succeeded_at, deletable_at)
VALUES ($1, $2, 0, 0, 0, $3, $4)
ON CONFLICT (counter) DO UPDATE
SET failures = 0, failed_at = 0, forgotten_at = 0, succeeded_at = $3, deletable_at = $4
