//! Migrations that are interrupted at any step, and taken up again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::NoTls;

use super::migrations::{assert_is_migrated, content, database_of_version, schema, succeed};
use super::*;
use crate::harness::executable::command;
use crate::harness::{Database, Engine};

/// How long to wait for what must happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// So many that changing them takes many batches.
const SESSIONS: usize = 20_000;

/// Waits until a statement has rows.
async fn wait_for(database: &Database, sql: &str) {
    let appeared = async {
        while database.query(sql).await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, appeared).await.unwrap_or_else(|_| panic!("no rows: {sql}"));
}

/// A process of `jeton`, whose standard error is read line by line; killed when dropped.
struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the executable starts");
        let lines = BufReader::new(child.stderr.take().expect("it was piped")).lines();
        Self { child, lines }
    }

    fn migrate(database: &Database) -> Self {
        Self::start(&["db", "migrate", "--database", &database.url])
    }

    /// Reads until a line says this.
    fn read_until(&mut self, says: &str) {
        let mut read = String::new();
        for line in self.lines.by_ref().map_while(Result::ok) {
            if line.contains(says) {
                return;
            }
            read.push_str(&line);
            read.push('\n');
        }
        panic!("it never said {says:?}: {read}");
    }

    /// Reads all that is left, and waits for the end: the exit code, and what was read.
    fn wait(&mut self) -> (Option<i32>, String) {
        let errors: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
        (self.child.wait().expect("a child of ours").code(), errors.join("\n"))
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill").args(["-s", name, &id]).status().expect("kill runs").success()
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A database of version 1 on which a run got a signal in the midst of changing the rows of a table; the
/// exit code of that run, and what it said. A run that was faster than the signal is tried again.
async fn interrupted_by(signal: &str) -> (Database, Option<i32>, String) {
    let begun = "SELECT 1 FROM schema_migrations WHERE checksum LIKE '2.5 s%' OR version = 2";
    let changed = "SELECT COUNT(CASE WHEN ends_at > 0 THEN 1 END) FROM sessions";
    for _ in 0..20 {
        let database = database_of_version(1, SESSIONS).await;
        let mut process = Process::migrate(&database);
        wait_for(&database, begun).await;
        process.signal(signal);
        let (code, errors) = process.wait();
        let changed = database.query(changed).await[0][0].clone().expect("a number");
        let changed: usize = changed.parse().expect("a number");
        assert!(changed > 0, "some rows were changed");
        if changed < SESSIONS - SESSIONS / 3 {
            return (database, code, errors);
        }
    }
    panic!("each run ended before the signal came")
}

/// `kill -9` in the midst of a step: another run sees after a while that nobody works, and goes on where
/// the first was. What comes of it is the same as without an interruption.
#[tokio::test]
async fn a_killed_migration_is_taken_up() {
    let (database, _, _) = interrupted_by("KILL").await;
    succeed(&database, &["db", "migrate"]);
    assert_is_migrated(&database, SESSIONS).await;
    let other = database_of_version(1, SESSIONS).await;
    succeed(&other, &["db", "migrate"]);
    assert_eq!(schema(&database).await, schema(&other).await);
    assert_eq!(content(&database).await, content(&other).await);
}

/// A signal to stop ends a migration between two batches, and says how to go on. Nobody has to wait to
/// see that nobody works.
#[tokio::test]
async fn a_stopped_migration_is_taken_up() {
    for signal in ["TERM", "INT"] {
        let (database, code, errors) = interrupted_by(signal).await;
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains("told to stop: the tables are at version 1 of"), "{errors}");
        assert!(errors.contains("goes on where this was"), "{errors}");
        let guard = "SELECT name FROM schema_migrations WHERE version = 0";
        assert_eq!(database.query(guard).await[0][0].as_deref(), Some("guard"), "it is free");
        succeed(&database, &["db", "migrate"]);
        assert_is_migrated(&database, SESSIONS).await;
    }
}

/// A step that was done and not recorded, because the process was killed between the two, is recognised.
#[tokio::test]
async fn a_step_that_was_not_recorded_is_recognised() {
    let steps = [
        ("2.1 ", 1, "ALTER TABLE sessions DROP COLUMN revoked_at"),
        ("2.2 ", 1, "ALTER TABLE sessions ADD COLUMN refreshed_at BIGINT NOT NULL DEFAULT 0"),
        ("2.6 ", 1, "DROP INDEX sessions_by_expiry"),
        ("3.0 ", 2, "CREATE TABLE login_throttle"),
        ("4.1 ", 3, "CREATE INDEX users_by_lot ON users (lot, username)"),
    ];
    for (position, version, done) in steps {
        let database = database_of_version(version, 30).await;
        // What the steps before did, as the scripts have it.
        let (migration, count) = position.trim().split_once('.').expect("a position");
        let script = match migration {
            "2" => include_str!("../../../sql/migrations/0002_sessions.sql"),
            "3" => include_str!("../../../sql/migrations/0003_login_throttle.sql"),
            _ => include_str!("../../../sql/migrations/0004_lots.sql"),
        };
        let lines = script.lines().filter(|line| !line.trim_start().starts_with("--"));
        let script = lines.collect::<Vec<_>>().join("\n");
        let count: usize = count.parse().expect("a number");
        let statements: Vec<&str> = script.split(';').take(count + 1).collect();
        assert!(statements[count].contains(done), "{position}: {}", statements[count]);
        database.run_script(&statements.join(";")).await;
        let recorded =
            format!("UPDATE schema_migrations SET checksum = '{position}' WHERE version = 0");
        database.run_script(&recorded).await;

        succeed(&database, &["db", "migrate"]);
        assert_is_migrated(&database, 30).await;
    }
}

/// A transaction on PostgreSQL that is open, and sees what was committed before it began.
async fn snapshot(database: &Database) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(&database.url, NoTls).await.expect("the server of the test run");
    tokio::spawn(connection);
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    client.batch_execute(begin).await.expect("a transaction");
    client
}

/// The index that migration 4 makes, and whether it is good.
const INDEX: &str = "SELECT indexrelid, indisvalid FROM pg_index WHERE indexrelid = \
                     CAST('users_by_lot' AS regclass)";
/// The server builds an index.
const BUILD: &str =
    "SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database()";

/// On PostgreSQL an index is built while others write, however long that takes; who waits is told what for.
/// The server does not notice when the process is killed, and goes on: the next run, here the service,
/// waits for that build and does not begin another one.
#[tokio::test]
async fn others_write_while_an_index_is_built() {
    if ENGINE == Engine::Sqlite {
        return; // It has one writer at a time.
    }
    let database = database_of_version(3, 30).await;
    let reader = snapshot(&database).await;
    let mut process = Process::migrate(&database);
    wait_for(&database, BUILD).await;
    let write = "SET lock_timeout = '10s'; UPDATE users SET last_login_at = 7; \
                 INSERT INTO users (user_id, username, password_hash, password_changed_at, roles, \
                 created_at) VALUES ('u2', 'bob', 'x', 5, '[]', 5)";
    database.query(write).await;
    let mut process = tokio::task::spawn_blocking(move || {
        process.read_until("step 2 of 2 of migration 4 (lots), CREATE INDEX users_by_lot: ");
        process
    })
    .await
    .expect("it says how far it is");
    process.signal("KILL");
    process.wait();
    let before = database.query(INDEX).await;
    assert_eq!(before[0][1].as_deref(), Some("f"), "not built yet");
    assert!(!database.query(BUILD).await.is_empty(), "the server goes on");

    let (url, master_key) = (database.url.clone(), database.path("master.jwk"));
    let mut service = tokio::task::spawn_blocking(move || {
        let free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
        let common = ["serve", "--database", &url, "--master-key-file", &master_key];
        let mut service = Process::start(&[&common[..], &free].concat());
        service.read_until("CREATE INDEX users_by_lot, which an earlier run began: ");
        service
    })
    .await
    .expect("it says what it waits for");
    reader.batch_execute("COMMIT").await.expect("an end");
    let served = tokio::task::spawn_blocking(move || service.read_until("serving"));
    served.await.expect("the service starts");
    let after = database.query(INDEX).await;
    assert_eq!(after, [[before[0][0].clone(), Some("t".to_owned())]], "the same index, and good");
    assert_is_migrated(&database, 30).await;
}

/// On PostgreSQL a signal to stop cancels what the server does for the migration. The index that was left
/// unfinished is built anew by the next run.
#[tokio::test]
async fn an_unfinished_index_is_built_anew() {
    if ENGINE == Engine::Sqlite {
        return; // An index is there or not.
    }
    let database = database_of_version(3, 30).await;
    let reader = snapshot(&database).await;
    let mut process = Process::migrate(&database);
    wait_for(&database, BUILD).await;
    process.signal("TERM");
    let (code, errors) = process.wait();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("told to stop: the tables are at version 3 of"), "{errors}");
    assert_eq!(database.query(BUILD).await.len(), 0, "the server does nothing more");
    let before = database.query(INDEX).await;
    assert_eq!(before[0][1].as_deref(), Some("f"), "it was left unfinished");

    reader.batch_execute("COMMIT").await.expect("an end");
    succeed(&database, &["db", "migrate"]);
    let after = database.query(INDEX).await;
    assert_eq!(after[0][1].as_deref(), Some("t"));
    assert_ne!(after[0][0], before[0][0], "another index");
    assert_is_migrated(&database, 30).await;
}

/// On PostgreSQL a table is changed only when nobody uses it. Until then others are not kept from it for
/// longer than a moment: a change that waited in the queue would hold up everyone behind it.
#[tokio::test]
async fn a_table_that_is_in_use_stays_so_for_others() {
    if ENGINE == Engine::Sqlite {
        return; // It has one writer at a time.
    }
    let database = database_of_version(3, 30).await;
    let reader = snapshot(&database).await;
    reader.batch_execute("SELECT user_id FROM users").await.expect("rows");
    let process = Process::migrate(&database);
    let waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = CAST('users' AS regclass)";
    for number in 0..3 {
        wait_for(&database, waits).await;
        let write = format!("SET lock_timeout = '20s'; UPDATE users SET last_login_at = {number}");
        database.query(&write).await;
    }
    reader.batch_execute("COMMIT").await.expect("an end");
    let mut process = process;
    let ended = tokio::task::spawn_blocking(move || process.wait()).await.expect("no panic");
    assert_eq!(ended.0, Some(0), "{}", ended.1);
    assert_is_migrated(&database, 30).await;
}

/// A program from before steps holds the guard's row in one transaction while it migrates, and its statement
/// may go on in the server after it has gone. That is waited for, however long it takes.
#[tokio::test]
async fn a_migration_of_an_older_program_is_waited_for() {
    if ENGINE == Engine::Sqlite {
        return; // Its transaction ends with its process.
    }
    let database = database_of_version(3, 30).await;
    let older = snapshot(&database).await;
    let hold = "UPDATE schema_migrations SET applied_at = 1 WHERE version = 0";
    older.batch_execute(hold).await.expect("the row");
    let mut process = Process::migrate(&database);
    let mut process = tokio::task::spawn_blocking(move || {
        process.read_until("another jeton brings the tables up to date");
        process
    })
    .await
    .expect("it says what it waits for");
    older.batch_execute("ROLLBACK").await.expect("an end");
    let ended = tokio::task::spawn_blocking(move || process.wait()).await.expect("no panic");
    assert_eq!(ended.0, Some(0), "{}", ended.1);
    assert_is_migrated(&database, 30).await;
}
