-- The first rows of a table, in the order of its primary key.
SELECT {columns} FROM {table} ORDER BY {key} LIMIT 2000
