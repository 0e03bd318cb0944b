//! The statements, loaded from `sql/`.

use std::sync::{Arc, LazyLock, OnceLock};

use super::value::Columns;

/// Lists of columns that several statements read, with the placeholder of each.
const COLUMNS: [(&str, &str); 3] = [
    ("{client}", include_str!("../../sql/columns/client.sql")),
    ("{counter}", include_str!("../../sql/columns/counter.sql")),
    ("{user}", include_str!("../../sql/columns/user.sql")),
];

/// A statement in the spelling of each engine, without comments.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// With `$1`, `$2`, …
    pub postgres: String,
    /// With `?1`, `?2`, …: to SQLite `$2` would be a name, numbered by first appearance.
    pub sqlite: String,
    /// The names of its columns, known once it has returned a row.
    columns: OnceLock<Columns>,
}

impl Statement {
    pub(super) fn new(text: &str) -> Self {
        let insert = |text: String, (name, columns): (&str, &str)| text.replace(name, columns);
        let text = COLUMNS.into_iter().fold(text.to_owned(), insert);
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
        let postgres = lines.map(str::trim).collect::<Vec<_>>().join(" ");
        let sqlite = postgres.replace('$', "?");
        Self::of_each(postgres, sqlite)
    }

    pub(super) fn of_each(postgres: String, sqlite: String) -> Self {
        Self { postgres, sqlite, columns: OnceLock::new() }
    }

    /// The names of its columns. `ask` is called once.
    pub(super) fn columns<'a, N: IntoIterator<Item = &'a str>>(
        &self,
        ask: impl FnOnce() -> N,
    ) -> Columns {
        let name = || ask().into_iter().map(str::to_owned).collect();
        Arc::clone(self.columns.get_or_init(name))
    }
}

/// How many keys one statement finds at most on SQLite. On PostgreSQL they are one list, without a limit.
pub(super) const WIDTH: usize = 16;

/// A statement that finds rows by primary keys, written with `IN ($1)` for one key.
pub(crate) struct LookUpStatement {
    /// For one key, and on PostgreSQL for a list of keys.
    pub(super) one: Statement,
    /// For [`WIDTH`] keys on SQLite.
    pub(super) many: Statement,
}

impl LookUpStatement {
    fn new(text: &str) -> Self {
        let numbers: Vec<String> = (1..=WIDTH).map(|number| format!("${number}")).collect();
        let many = text.replace("IN ($1)", &format!("IN ({})", numbers.join(", ")));
        let one = Statement::new(text);
        let postgres = one.postgres.replace("IN ($1)", "= ANY ($1)");
        Self { one: Statement { postgres, ..one }, many: Statement::new(&many) }
    }
}

/// How many rows one statement inserts.
pub(super) const ROWS: usize = 50;

/// A statement that inserts rows, written for one row with `VALUES (…)` on a line of its own.
pub(crate) struct BatchStatement {
    one: Statement,
    many: Statement,
}

impl BatchStatement {
    fn new(text: &str) -> Self {
        let widen = |line: &str| match line.strip_prefix("VALUES ") {
            None => line.to_owned(),
            Some(row) => {
                let columns = row.split(['$', ',', ')']).filter_map(|n| n.parse().ok()).max();
                let columns: usize = columns.unwrap_or_default();
                let rows = (0..ROWS).map(|number| moved(row, number * columns));
                format!("VALUES {}", rows.collect::<Vec<_>>().join(", "))
            }
        };
        let many: Vec<String> = text.lines().map(widen).collect();
        Self { one: Statement::new(text), many: Statement::new(&many.join("\n")) }
    }

    /// The statement for this many rows: 1 or [`ROWS`].
    pub(super) fn for_rows(&self, rows: usize) -> &Statement {
        if rows == 1 { &self.one } else { &self.many }
    }
}

/// The text with `by` added to the numbers of its parameters.
fn moved(text: &str, by: usize) -> String {
    let mut parts = text.split('$');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |moved, part| {
        let end = part.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        let number = number.parse::<usize>().unwrap_or_default() + by;
        format!("{moved}${number}{rest}")
    })
}

macro_rules! statements {
    (
        statements { $($name:ident = $file:literal;)+ }
        look_ups { $($look_up:ident = $look_up_file:literal;)+ }
        batches { $($batch:ident = $batch_file:literal;)+ }
    ) => {
        $(pub(crate) static $name: LazyLock<Statement> =
            LazyLock::new(|| Statement::new(include_str!(concat!("../../sql/", $file, ".sql"))));)+
        $(pub(crate) static $look_up: LazyLock<LookUpStatement> = LazyLock::new(|| {
            LookUpStatement::new(include_str!(concat!("../../sql/", $look_up_file, ".sql")))
        });)+
        $(pub(crate) static $batch: LazyLock<BatchStatement> = LazyLock::new(|| {
            BatchStatement::new(include_str!(concat!("../../sql/", $batch_file, ".sql")))
        });)+

        #[cfg(test)]
        const ALL: &[(&str, &str)] = &[
            $(($file, include_str!(concat!("../../sql/", $file, ".sql"))),)+
            $(($look_up_file, include_str!(concat!("../../sql/", $look_up_file, ".sql"))),)+
            $(($batch_file, include_str!(concat!("../../sql/", $batch_file, ".sql"))),)+
        ];

        /// Each file with the text that PostgreSQL gets.
        #[cfg(test)]
        pub(crate) fn sent() -> Vec<(&'static str, String)> {
            vec![
                $(($file, $name.postgres.clone()),)+
                $(($look_up_file, $look_up.one.postgres.clone()),)+
                $(($batch_file, $batch.many.postgres.clone()),)+
            ]
        }
    };
}

statements! {
    statements {
        ACTIVATE_KEY = "activate_key";
        ASK_FOR_REWRITE = "ask_for_rewrite";
        CHECK_INTEGRITY = "check_integrity";
        CLOSE_GATE = "close_gate";
        CORRECT_CLOCK = "correct_clock";
        COUNT_EXPIRED_SESSIONS = "count_expired_sessions";
        COUNT_FAILURE = "count_failure";
        COUNT_SESSIONS = "count_sessions";
        CREATE_MIGRATION_TABLE = "create_migration_table";
        CREATE_STAGING = "create_staging";
        COUNT_OTHER_HASHES = "count_other_hashes";
        COUNT_OTHER_SECRET_HASHES = "count_other_secret_hashes";
        DATE_MIGRATION = "date_migration";
        DELETE_CLIENT = "delete_client";
        DELETE_CLIENT_SECRET = "delete_client_secret";
        DELETE_DATA_KEY = "delete_data_key";
        DELETE_EXPIRED_COUNTERS = "delete_expired_counters";
        DELETE_EXPIRED_SESSIONS = "delete_expired_sessions";
        DELETE_OLD_OPERATOR_ACTS = "delete_old_operator_acts";
        DELETE_USER = "delete_user";
        DELETE_WRITE_CHECK = "delete_write_check";
        DISABLE_CLIENT = "disable_client";
        DISABLE_USER = "disable_user";
        ENABLE_CLIENT = "enable_client";
        ENABLE_USER = "enable_user";
        END_ALL_SESSIONS = "end_all_sessions";
        END_ANY_SESSIONS = "end_any_sessions";
        END_FURTHER_SESSIONS_OF_USER = "end_further_sessions_of_user";
        END_REUSED_SESSION = "end_reused_session";
        END_SESSION = "end_session";
        END_SESSIONS_OF_CLIENT = "end_sessions_of_client";
        END_SESSIONS_OF_USER = "end_sessions_of_user";
        END_SURPLUS_SESSIONS = "end_surplus_sessions";
        FIND_CLOSED_GATE = "find_closed_gate";
        FIND_COUNTER = "find_counter";
        FIND_COUNTERS = "find_counters";
        FIND_DATA_KEY = "find_data_key";
        FIND_INDEX = "find_index";
        FIND_MIGRATION = "find_migration";
        FIND_MIGRATION_GUARD = "find_migration_guard";
        FIND_MISSING_RIGHTS = "find_missing_rights";
        FIND_READ_ONLY = "find_read_only";
        FIND_RECOVERY = "find_recovery";
        FIND_SCHEMA = "find_schema";
        FIND_SEALED_HASH = "find_sealed_hash";
        FIND_STAGED_USER = "find_staged_user";
        FIND_USER = "find_user";
        FORGET_REPLICAS = "forget_replicas";
        FORGIVE_FAILURES = "forgive_failures";
        FORGIVE_ORIGIN = "forgive_origin";
        HOLD_GATE = "hold_gate";
        IMPORT_LISTS_OF_USERS = "postgres/import_users";
        INSERT_CLIENT = "insert_client";
        INSERT_CLIENT_SECRET = "insert_client_secret";
        INSERT_KEY = "insert_key";
        INSERT_MIGRATION = "insert_migration";
        INSERT_MIGRATION_GUARD = "insert_migration_guard";
        INSERT_OPERATOR_ACT = "insert_operator_act";
        INSERT_SESSION = "insert_session";
        INSERT_USER = "insert_user";
        INSERT_WRITE_CHECK = "insert_write_check";
        LIST_CLIENTS = "list_clients";
        LIST_COLUMNS = "list_columns";
        LIST_COUNTERS_OF_ACCOUNT = "list_counters_of_account";
        LIST_HASHES = "list_hashes";
        LIST_KEYS = "list_keys";
        LIST_MIGRATIONS = "list_migrations";
        LIST_OPERATOR_ACTS = "list_operator_acts";
        LIST_REPLICAS = "list_replicas";
        LIST_SECRET_HASHES = "list_secret_hashes";
        LIST_SESSIONS_OF_USER = "list_sessions_of_user";
        LIST_STAGED_USERS = "list_staged_users";
        LIST_USERS = "list_users";
        LIST_USERS_WITHOUT_DECOY_NUMBER = "list_users_without_decoy_number";
        LIST_WAITING_COUNTERS = "list_waiting_counters";
        LOCK_GATE = "postgres/lock_gate";
        LOCK_NAMES = "postgres/lock_names";
        OPEN_GATE = "open_gate";
        READ_CLOCK = "read_clock";
        READ_DATABASE_CLOCK = "read_database_clock";
        READ_GATE = "read_gate";
        RECORD_CLIENT_USE = "record_client_use";
        RECORD_CLIENT_SECRET_USE = "record_client_secret_use";
        RECORD_CLOCK = "record_clock";
        RECORD_LOGIN = "record_login";
        RECORD_MIGRATION_STEP = "record_migration_step";
        RECORD_ORIGIN = "record_origin";
        RECORD_REPLICA = "record_replica";
        REFRESH_SESSION = "refresh_session";
        REFRESH_SESSIONS = "postgres/refresh_sessions";
        RELEASE_MIGRATION_GUARD = "release_migration_guard";
        RENAME_USER = "rename_user";
        RENEW_MIGRATION_GUARD = "renew_migration_guard";
        REPLACE_CLIENT_SECRET_HASH = "replace_client_secret_hash";
        REPLACE_COUNTER = "replace_counter";
        REPLACE_HASH = "replace_hash";
        REPLACE_LISTS_OF_HASHES = "postgres/replace_hashes";
        REPLACE_STAGED_HASH = "replace_staged_hash";
        RESEAL_KEY = "reseal_key";
        RESEAL_SECRET_HASH = "reseal_secret_hash";
        RETIRE_DATA_KEYS = "retire_data_keys";
        REVOKE_KEY = "revoke_key";
        SET_DECOY_NUMBER = "set_decoy_number";
        SET_RECOVERY = "set_recovery";
        STAGE_USER = "stage_user";
        STOP_REPLICA = "stop_replica";
        TAKE_FAILURE_BACK = "take_failure_back";
        TAKE_MIGRATION_GUARD = "take_migration_guard";
        UNLOCK_ACCOUNT = "unlock_account";
        UPDATE_CLIENT = "update_client";
        UPDATE_SECOND_FACTORS = "update_second_factors";
        UPDATE_USER = "update_user";
        UPDATE_USER_PASSWORD = "update_user_password";
    }
    look_ups {
        FIND_CLIENT = "find_client";
        FIND_CLIENTS_LIKE_USERS = "find_clients_like_users";
        FIND_SESSION = "find_session";
        FIND_USER_IDS = "find_user_ids";
        FIND_USERS_BY_ID = "find_users_by_id";
        FIND_USERS_BY_NAME = "find_users_by_name";
    }
    batches {
        IMPORT_USERS = "import_users";
    }
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
    fn rows_have_parameters_of_their_own() {
        let statement = BatchStatement::new("TO t\nVALUES ($1, $2, $2)");
        let (one, many) = (statement.for_rows(1), statement.for_rows(ROWS));
        assert_eq!(one.postgres, "TO t VALUES ($1, $2, $2)");
        let begin = "TO t VALUES ($1, $2, $2), ($3, $4, $4), ($5, ";
        assert!(many.postgres.starts_with(begin), "{}", many.postgres);
        assert!(many.postgres.ends_with(", ($99, $100, $100)"), "{}", many.postgres);
    }

    #[test]
    fn every_file_is_loaded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sql");
        for entry in std::fs::read_dir(folder).expect("the folder of this project") {
            let path = entry.expect("a readable folder").path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                let name = path.file_stem().and_then(|stem| stem.to_str()).expect("plain names");
                assert!(ALL.iter().any(|(file, _)| *file == name), "{name}.sql is used by nothing");
            }
        }
    }
}
