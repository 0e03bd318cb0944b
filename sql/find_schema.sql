-- PostgreSQL only: the schema in which tables are looked up; null if the role may use none.
SELECT CAST(current_schema() AS TEXT) AS schema_name
