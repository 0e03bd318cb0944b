-- PostgreSQL only: whether an index is good, and whether it is being built.
SELECT
    CAST(CASE WHEN indexes.indisvalid THEN 1 ELSE 0 END AS BIGINT) AS is_good,
    CAST(CASE WHEN builds.pid IS NULL THEN 0 ELSE 1 END AS BIGINT) AS is_being_built
FROM pg_class AS names
JOIN pg_index AS indexes ON indexes.indexrelid = names.oid
LEFT JOIN pg_stat_progress_create_index AS builds
    ON builds.index_relid = names.oid AND builds.datname = current_database()
WHERE names.relname = $1 AND pg_table_is_visible(names.oid)
