-- Every row of a table of another program (`jeton import`), as JSON: its columns are known by name, and some may be missing.
SELECT CAST(to_jsonb(source) AS TEXT) FROM {table} AS source
