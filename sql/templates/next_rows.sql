-- The last key of the next batch of rows that a migration changes.
SELECT MAX({key}) AS last_key FROM (SELECT {key} FROM {table} WHERE {key} > $1 ORDER BY {key} LIMIT 500) AS next_rows
