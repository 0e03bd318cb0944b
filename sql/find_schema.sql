-- For PostgreSQL alone: where tables are looked for, or nothing if the role may use no schema.
SELECT CAST(current_schema() AS TEXT) AS schema_name
