-- How transactions are isolated unless they say so, and what the server is.
SELECT current_setting('transaction_isolation'), version()
