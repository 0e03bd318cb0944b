-- SQLite only: the columns of all tables, in the order in which the tables were made. `key_place` counts the columns of
-- the primary key from 1.
SELECT made.name AS table_name, held.name AS column_name, held.type AS column_type, held.pk AS key_place
FROM sqlite_schema AS made
INNER JOIN pragma_table_info(made.name) AS held
WHERE made.type = 'table'
ORDER BY made.rowid, held.cid
