-- Only for PostgreSQL: the clock of its machine, in milliseconds since the epoch. SQLite has no clock of its own.
SELECT CAST(EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) / 0.001 AS BIGINT) AS milliseconds
