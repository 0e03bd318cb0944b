-- Counters by which a login may be refused: those with so many failures in a row that the account is locked, and those
-- with more recent failures than are free, the last of them so late that its wait may not be over.
SELECT {counter}, account
FROM login_throttle
WHERE failures >= $1 OR (forgotten_at > $2 AND failed_at > $3)
