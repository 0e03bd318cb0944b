-- Every row of a table of another program (`jeton import`): its columns are known by name, and some may be missing.
SELECT * FROM {table}
