//! The statements, loaded from `sql/`.

use std::sync::LazyLock;

/// One statement in the spelling of each engine, without comments.
pub(crate) struct Statement {
    /// With `$1`, `$2`, …
    pub(crate) postgres: String,
    /// With `?1`, `?2`, …: in SQLite `$2` would be a name, numbered by first appearance.
    pub(crate) sqlite: String,
}

impl Statement {
    fn new(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
        let postgres = lines.map(str::trim).collect::<Vec<_>>().join(" ");
        Self { sqlite: postgres.replace('$', "?"), postgres }
    }
}

macro_rules! statements {
    ($($name:ident = $file:literal;)+) => {
        $(pub(crate) static $name: LazyLock<Statement> =
            LazyLock::new(|| Statement::new(include_str!(concat!("../../sql/", $file, ".sql"))));)+

        #[cfg(test)]
        const ALL: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../../sql/", $file, ".sql")))),+];
    };
}

statements! {
    COUNT_KEYS = "count_keys";
    CREATE_MIGRATION_TABLE = "create_migration_table";
    DELETE_CLIENT = "delete_client";
    DELETE_CLIENT_SECRET = "delete_client_secret";
    DELETE_SESSIONS_OF_CLIENT = "delete_sessions_of_client";
    DELETE_SESSIONS_OF_USER = "delete_sessions_of_user";
    DELETE_USER = "delete_user";
    DISABLE_CLIENT = "disable_client";
    DISABLE_USER = "disable_user";
    ENABLE_CLIENT = "enable_client";
    ENABLE_USER = "enable_user";
    FIND_CLIENT = "find_client";
    FIND_LIVE_SESSION = "find_live_session";
    FIND_USER = "find_user";
    INSERT_CLIENT = "insert_client";
    INSERT_CLIENT_SECRET = "insert_client_secret";
    INSERT_KEY = "insert_key";
    INSERT_MIGRATION = "insert_migration";
    INSERT_MIGRATION_GUARD = "insert_migration_guard";
    INSERT_SESSION = "insert_session";
    INSERT_USER = "insert_user";
    LIST_CLIENTS = "list_clients";
    LIST_KEYS = "list_keys";
    LIST_MIGRATIONS = "list_migrations";
    LIST_USERS = "list_users";
    LOCK_MIGRATION_GUARD = "lock_migration_guard";
    PING = "ping";
    RECORD_CLIENT_SECRET_USE = "record_client_secret_use";
    REPLACE_PASSWORD_HASH = "replace_password_hash";
    REVOKE_SESSIONS_OF_USER = "revoke_sessions_of_user";
    UPDATE_CLIENT = "update_client";
    UPDATE_USER = "update_user";
    UPDATE_USER_PASSWORD = "update_user_password";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_keeps_to_the_shared_subset() {
        for (file, text) in ALL {
            let statement = Statement::new(text);
            let sql = &statement.postgres;
            assert!(!sql.contains(['?', ';']), "{file}: no ? and no second statement");
            assert!(!sql.contains("::"), "{file}: CAST, not ::");
            assert!(!sql.replace("COUNT(*)", "").contains('*'), "{file}: columns are named");
            assert!(!statement.sqlite.contains('$'), "{file}: ? for SQLite");
        }
    }

    #[test]
    fn every_file_is_loaded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
        for entry in std::fs::read_dir(folder).expect("the folder of this project") {
            let path = entry.expect("a readable folder").path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                let name = path.file_stem().and_then(|stem| stem.to_str()).expect("plain names");
                assert!(ALL.iter().any(|(file, _)| *file == name), "{name}.sql is used by nothing");
            }
        }
    }
}
