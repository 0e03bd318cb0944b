-- PostgreSQL only: 'on' if this server takes no writes, as a standby does.
SELECT CAST(current_setting('transaction_read_only') AS TEXT) AS read_only
