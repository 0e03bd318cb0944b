//! Migrations of databases that are in use: from each version, by several at once, and by nobody who was
//! not asked to.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::*;
use crate::harness::executable::run_for_json;
use crate::harness::{Database, Engine, Executable, run};

/// The scripts that were released before migrations had steps, with their names.
const RELEASED: [(&str, &str); 4] = [
    ("initial", include_str!("../../../sql/migrations/0001_initial.sql")),
    ("sessions", include_str!("../../../sql/migrations/0002_sessions.sql")),
    ("login_throttle", include_str!("../../../sql/migrations/0003_login_throttle.sql")),
    ("lots", include_str!("../../../sql/migrations/0004_lots.sql")),
];
/// The table of migrations, as the program made it that applied a script as a whole.
const TABLE: &str = "CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, \
                     checksum TEXT NOT NULL, applied_at BIGINT NOT NULL); \
                     INSERT INTO schema_migrations VALUES (0, 'guard', '', 1700000000)";

/// A database of a version, as the program left it that applied a script as a whole, with a user, and so
/// many sessions of which every third was ended.
pub(super) async fn database_of_version(version: usize, sessions: usize) -> Database {
    let database = Database::empty(ENGINE).await;
    database.run_script(TABLE).await;
    for (index, (name, script)) in RELEASED.iter().take(version).enumerate() {
        database.run_script(script).await;
        let number = index + 1;
        let checksum = Sha256::digest(script).iter().fold(String::new(), |mut text, octet| {
            write!(text, "{octet:02x}").expect("text takes it");
            text
        });
        let row = format!("({number}, '{name}', '{checksum}', 1700000000)");
        database.run_script(&format!("INSERT INTO schema_migrations VALUES {row}")).await;
        if number == 1 {
            database.run_script(&rows(sessions)).await;
        }
    }
    database
}

/// Rows of a database of version 1. No session has expired, so a service that starts on it deletes none.
fn rows(sessions: usize) -> String {
    format!(
        "INSERT INTO users (user_id, username, password_hash, password_changed_at, roles, created_at) \
         VALUES ('u1', 'alice', 'x', 5, '[]', 5); \
         WITH RECURSIVE numbers (n) AS \
           (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {sessions}) \
         INSERT INTO sessions (session_id, user_id, client_id, generation, scope, audiences, \
                               auth_time, expires_at, revoked_at) \
         SELECT 's' || n, 'u1', 'web', 0, 'read', '[]', 4000000000 + n, 4000001000 + n, \
                CASE WHEN n % 3 = 0 THEN 1500 END FROM numbers"
    )
}

/// The newest version that the program has.
fn known(database: &Database) -> String {
    let status = run_for_json(&["db", "status", "--json", "--database", &database.url], "");
    status["known"].to_string()
}

/// What the tables, their columns and their indexes are, in no order that depends on their history.
pub(super) async fn schema(database: &Database) -> Vec<Vec<Option<String>>> {
    let questions = match ENGINE {
        Engine::Sqlite => [
            "SELECT t.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk FROM sqlite_master AS t, \
             pragma_table_info(t.name) AS c WHERE t.type = 'table' ORDER BY 1, 2",
            "SELECT i.tbl_name, i.name, c.seqno, c.name FROM sqlite_master AS i, \
             pragma_index_info(i.name) AS c WHERE i.type = 'index' ORDER BY 1, 2, 3",
        ],
        Engine::Postgres => [
            "SELECT table_name, column_name, data_type, is_nullable, column_default \
             FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
            "SELECT indexdef, indisvalid FROM pg_indexes JOIN pg_index \
             ON indexrelid = CAST(indexname AS regclass) WHERE schemaname = 'public' ORDER BY 1",
        ],
    };
    let mut all = database.query(questions[0]).await;
    all.extend(database.query(questions[1]).await);
    all
}

/// What is in the tables that the tests fill, and which migrations were applied.
pub(super) async fn content(database: &Database) -> Vec<Vec<Option<String>>> {
    let mut all = Vec::new();
    for question in [
        "SELECT user_id, username, last_login_at, lot FROM users ORDER BY 1",
        "SELECT session_id, auth_time, refreshed_at, ends_at, deletable_at FROM sessions ORDER BY 1",
        "SELECT version, name, checksum FROM schema_migrations WHERE version > 0 ORDER BY 1",
    ] {
        all.extend(database.query(question).await);
    }
    all
}

/// Asserts that a database of so many sessions is what its version 1 should have become.
pub(super) async fn assert_is_migrated(database: &Database, sessions: usize) {
    let left = sessions - sessions / 3;
    let found = database
        .query(
            "SELECT COUNT(*), COUNT(CASE WHEN refreshed_at = auth_time AND ends_at = auth_time + 1000 \
             AND deletable_at = ends_at THEN 1 END) FROM sessions",
        )
        .await;
    assert_eq!(found, [[Some(left.to_string()), Some(left.to_string())]]);
    let guard = database.query("SELECT name FROM schema_migrations WHERE version = 0").await;
    assert_eq!(guard[0][0].as_deref(), Some("guard"), "nobody holds it");
}

/// Runs a command on a database; it must succeed.
#[track_caller]
pub(super) fn succeed(database: &Database, arguments: &[&str]) -> String {
    let output = run(&[arguments, &["--database", &database.url]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Whatever version a database has, it becomes what every other becomes, and keeps its rows; what was
/// recorded of a migration stays as it was. The service then starts on it.
#[tokio::test]
async fn a_database_of_each_version_is_brought_up_to_date() {
    let mut outcomes = Vec::new();
    for version in 1..=RELEASED.len() {
        let database = database_of_version(version, 1_200).await;
        let recorded = "SELECT version, name, checksum, applied_at FROM schema_migrations";
        let recorded = format!("{recorded} WHERE version BETWEEN 1 AND {version} ORDER BY 1");
        let before = database.query(&recorded).await;
        succeed(&database, &["db", "migrate"]);
        assert_eq!(database.query(&recorded).await, before, "version {version}");
        assert_is_migrated(&database, 1_200).await;
        outcomes.push((schema(&database).await, content(&database).await));
        let master_key = database.path("master.jwk");
        drop(Executable::serve(&["--database", &database.url, "--master-key-file", &master_key]));
    }
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    let new = Database::migrated(ENGINE).await;
    assert_eq!(schema(&new).await, outcomes[0].0, "a new database has the same tables");
}

/// The service brings an older database up to date by itself, and its log says so.
#[tokio::test]
async fn the_service_migrates_when_it_starts() {
    let database = database_of_version(1, 3).await;
    let master_key = database.path("master.jwk");
    let arguments = ["--database", &database.url, "--master-key-file", &master_key];
    let service = Executable::serve(&arguments);
    let known = known(&database);
    let says = [
        format!("the tables are at version 1: bringing them to {known}"),
        format!("the tables are at version {known}"),
    ];
    let log = service.log();
    assert!(says.iter().all(|line| log.contains(&format!("\"{line}\""))), "{log}");
}

/// Of several that start at once on an older database each finds it up to date in the end, and every step
/// took effect once.
#[tokio::test]
async fn several_may_migrate_a_database_that_is_in_use() {
    let database = database_of_version(1, 3_000).await;
    std::thread::scope(|scope| {
        let migrate = || succeed(&database, &["db", "migrate"]);
        let running: Vec<_> = (0..4).map(|_| scope.spawn(migrate)).collect();
        for one in running {
            assert!(one.join().expect("it succeeds").contains("The tables are at version"));
        }
    });
    assert_is_migrated(&database, 3_000).await;
}

/// A command that was not asked to migrate leaves an older database as it is, and says which version it
/// needs and what to do. What shows where the database stands shows it.
#[tokio::test]
async fn no_other_command_migrates_a_database_that_is_in_use() {
    let database = database_of_version(3, 30).await;
    let before = (schema(&database).await, database.query("SELECT * FROM schema_migrations").await);
    let known = known(&database);
    let master_key = database.path("master.jwk");
    let with_key = |arguments: &[&'static str]| [arguments, &["--master-key-file"]].concat();
    let mut commands: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for arguments in [
        &["user", "list"][..],
        &["user", "list", "--stats"],
        &["user", "show", "alice"],
        &["user", "export"],
        &["user", "disable", "alice"],
        &["user", "add", "bob", "--password-stdin"],
        &["client", "list"],
        &["client", "show", "web"],
        &["client", "add", "new", "--public"],
        &["session", "list", "--user", "alice"],
        &["session", "revoke", "--user", "alice"],
        &["db", "purge"],
    ] {
        commands.insert(arguments.join(" "), arguments.to_vec());
    }
    for arguments in
        [&["key", "list"][..], &["key", "export", "--public"], &["key", "rotate", "--yes"]]
    {
        let mut all = with_key(arguments);
        all.push(&master_key);
        commands.insert(arguments.join(" "), all);
    }
    for (name, arguments) in commands {
        let output = run(&[&arguments[..], &["--database", &database.url]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {errors}");
        let says = format!("is at version 3 and this jeton needs {known}: run `jeton db migrate`");
        assert!(errors.contains(&says) && errors.lines().count() == 1, "{name}: {errors}");
    }
    assert!(succeed(&database, &["db", "status"]).contains("at version 3 and this jeton needs"));
    let free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let check = ["check", "--master-key-file", &master_key];
    let checked = succeed(&database, &[&check[..], &free].concat());
    assert!(checked.contains("at version 3 and will be brought to"), "{checked}");
    let after = (schema(&database).await, database.query("SELECT * FROM schema_migrations").await);
    assert_eq!(after, before);
}

/// A step that fails names itself and says what the database said; a right is asked for only where one is
/// missing. Once the cause is gone the migration goes on there.
#[tokio::test]
async fn a_step_that_fails_says_why() {
    let database = database_of_version(3, 30).await;
    database.run_script("CREATE TABLE users_by_lot (n BIGINT)").await;
    let output = run(&["db", "migrate", "--database", &database.url]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let place =
        "step 2 of 2 of migration 4 (lots), CREATE INDEX users_by_lot: the database refused";
    assert!(errors.contains(place) && errors.contains("goes on there"), "{errors}");
    assert!(!errors.contains("with a role"), "{errors}");
    database.run_script("DROP TABLE users_by_lot").await;
    succeed(&database, &["db", "migrate"]);
    assert_is_migrated(&database, 30).await;
}

/// The tables of a new database are made by the first command that writes, but not by one that reads.
#[tokio::test]
async fn a_new_database_is_made_by_what_writes() {
    let database = Database::empty(ENGINE).await;
    let output = run(&["user", "list", "--database", &database.url]);
    assert_eq!(output.status.code(), Some(1));
    succeed(&database, &["client", "add", "app", "--public"]);
    assert!(succeed(&database, &["client", "list"]).contains("app"));
}

/// Who may not read the table of migrations is told so, and not that the database is empty: its tables may
/// be those of another jeton.
#[tokio::test]
async fn who_may_not_look_is_not_told_that_the_database_is_empty() {
    if ENGINE == Engine::Sqlite {
        return; // It has no roles.
    }
    let database = database_of_version(4, 3).await;
    let newer = "INSERT INTO schema_migrations VALUES (99, 'newer', '', 0)";
    database.query(newer).await;
    let name = database.url.rsplit('/').next().expect("a URL that names a database");
    let role = format!("{name}_reader");
    database.query(&format!("CREATE ROLE {role} LOGIN")).await;
    let url = database.url.replace("//postgres@", &format!("//{role}@"));
    for (grant, says) in [
        ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "grant the role USAGE on their schema"),
        ("GRANT USAGE ON SCHEMA public TO PUBLIC", "permission denied for table schema_migrations"),
        ("GRANT SELECT ON schema_migrations TO PUBLIC", "(replicas) was never applied"),
    ] {
        database.query(grant).await;
        for command in [&["db", "status"][..], &["db", "migrate"], &["user", "list"]] {
            let output = run(&[command, &["--database", &url]].concat());
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command:?}: {errors}");
            assert!(errors.contains(says), "{command:?} says {says}: {errors}");
        }
    }
    database.query(&format!("DROP OWNED BY {role}")).await;
    database.query(&format!("DROP ROLE {role}")).await;
}
