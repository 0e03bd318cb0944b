-- PostgreSQL only: the rights that the role of this connection lacks and `jeton serve` needs, one a row. $1 is 1 if
-- tables must be made or changed first.
SELECT CAST('USAGE of a schema' AS TEXT) AS missing_right
WHERE current_schema() IS NULL
UNION ALL
SELECT 'CREATE on schema ' || current_schema()
WHERE $1 = 1 AND NOT has_schema_privilege(current_schema(), 'CREATE')
UNION ALL
SELECT 'ownership of table ' || owned.relname
FROM pg_class AS owned
WHERE $1 = 1
    AND owned.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND owned.relname IN (
        'users', 'clients', 'client_secrets', 'sessions', 'keys', 'login_throttle', 'replicas', 'clock',
        'operator_acts', 'write_gate', 'schema_migrations'
    )
    AND owned.relkind IN ('r', 'p')
    AND NOT pg_has_role(owned.relowner, 'USAGE')
UNION ALL
SELECT needed.act || ' on table ' || needed.name
FROM (
    VALUES
        ('users', 'SELECT'), ('users', 'UPDATE'),
        ('clients', 'SELECT'), ('clients', 'UPDATE'),
        ('client_secrets', 'SELECT'), ('client_secrets', 'UPDATE'),
        ('sessions', 'SELECT'), ('sessions', 'INSERT'), ('sessions', 'UPDATE'), ('sessions', 'DELETE'),
        ('keys', 'SELECT'), ('keys', 'INSERT'), ('keys', 'UPDATE'),
        ('login_throttle', 'SELECT'), ('login_throttle', 'INSERT'), ('login_throttle', 'UPDATE'),
        ('login_throttle', 'DELETE'),
        ('replicas', 'SELECT'), ('replicas', 'INSERT'), ('replicas', 'UPDATE'), ('replicas', 'DELETE'),
        ('clock', 'SELECT'), ('clock', 'INSERT'), ('clock', 'UPDATE'),
        ('operator_acts', 'SELECT'), ('operator_acts', 'DELETE'),
        ('write_gate', 'SELECT'),
        ('schema_migrations', 'SELECT')
) AS needed (name, act)
INNER JOIN pg_class AS held ON held.relname = needed.name
WHERE held.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND held.relkind IN ('r', 'p')
    AND NOT has_table_privilege(held.oid, needed.act)
