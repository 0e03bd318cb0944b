-- PostgreSQL only: the clock of the server, in milliseconds since the Unix epoch.
SELECT CAST(EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) / 0.001 AS BIGINT) AS milliseconds
