-- The number of the server's process that runs this statement.
SELECT pg_backend_pid()
