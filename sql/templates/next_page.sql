-- The rows after the one with this primary key.
SELECT {columns} FROM {table} WHERE ({key}) > ({values}) ORDER BY {key} LIMIT 2000
