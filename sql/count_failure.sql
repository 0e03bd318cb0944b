-- Counts one failure. Failures before $5, when the password was changed, are forgotten.
INSERT INTO login_throttle (counter, account, failures, failed_at, forgotten_at, deletable_at)
VALUES ($1, $2, 1, $3, $3 + $4, $6)
ON CONFLICT (counter) DO UPDATE
SET
    failures = CASE WHEN login_throttle.failed_at < $5 THEN 1 ELSE login_throttle.failures + 1 END,
    failed_at = $3,
    forgotten_at = $4 + CASE
        WHEN login_throttle.failed_at >= $5 AND login_throttle.forgotten_at > $3
            THEN login_throttle.forgotten_at
        ELSE $3
    END,
    deletable_at = CASE
        WHEN login_throttle.deletable_at > $6 THEN login_throttle.deletable_at ELSE $6
    END
