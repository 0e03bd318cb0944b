//! The gate on PostgreSQL: which transactions the one that closes it waits for, and what those see that waited for it.
//! Only there can a transaction that writes begin while the gate is being closed.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};

use crate::harness::database::{PASSWORD, SCRYPT};
use crate::harness::executable::command;
use crate::harness::service::login_form;
use crate::harness::{Database, Engine, Executable, Request};

const CLOSE: &str = "INSERT INTO write_gate (gate_id, reason, closed_below, closed_at, run, peer) \
                     VALUES (1, 'copying', 9223372036854775807, 1700000000, 'test', 'there')";
/// How many locks of this database somebody waits for.
const WAITING: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM pg_locks JOIN pg_stat_activity USING (pid) \
                       WHERE NOT granted AND datname = current_database()";

async fn connect(database: &Database) -> Client {
    let (client, connection) =
        tokio_postgres::connect(&database.url, NoTls).await.expect("the server of the test run");
    tokio::spawn(connection);
    client
}

async fn act(client: &Client, script: &str) {
    client.batch_execute(script).await.expect("a script of the test");
}

/// Waits until somebody waits for a lock that is so. The client is in no transaction: in one it would go on seeing those
/// who were there first.
async fn until_one_waits(client: &Client, condition: &str) {
    let statement = format!("{WAITING} AND {condition}");
    let one_waits = async {
        while client.query_one(&statement, &[]).await.expect("a count").get::<_, i64>(0) == 0 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_mins(1), one_waits).await.expect("somebody waits");
}

/// A revocation begins while the gate is being closed, so it waits for that. What it changes afterwards would be missing
/// in the copy. So it changes nothing, however transactions are isolated: also where one sees only what was there when
/// it began to wait.
#[tokio::test]
async fn who_waits_for_the_gate_to_be_closed_changes_nothing_afterwards() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let (database, fixtures) = Database::filled(Engine::Postgres).await;
        let (_, name) = database.url.rsplit_once('/').expect("a URL with a name");
        let isolate =
            format!("ALTER DATABASE {name} SET default_transaction_isolation = '{level}'");
        database.run_script(&isolate).await;
        let service = Executable::serve_on(&database, fixtures, &[]);
        let post = |path: &str, form: &str| {
            Request::new(service.public, "POST", path).form(&format!("{form}&client_id=spa"))
        };
        let login = post("/token", &login_form("alice", PASSWORD)).send().await;
        let (closing, holding) = (connect(&database).await, connect(&database).await);
        let watching = connect(&database).await;
        // Holds the revocation up after it has passed the gate, so that the copy reads first.
        act(&holding, "BEGIN; SELECT 1 FROM sessions FOR UPDATE").await;
        act(&closing, "BEGIN").await;
        act(&closing, include_str!("../../sql/postgres/lock_gate.sql")).await;
        let revocation = post("/revoke", &format!("token={}", login.refresh_token()));
        let revocation = tokio::spawn(async move { revocation.send().await });
        until_one_waits(&watching, "mode = 'AccessShareLock'").await;
        act(&closing, &format!("{CLOSE}; COMMIT")).await;
        // What the copy reads.
        let read = closing.query("SELECT session_id FROM sessions", &[]).await.expect("rows");
        assert_eq!(read.len(), 1);
        act(&holding, "ROLLBACK").await;
        let answer = revocation.await.expect("no panic");
        let left = database.query("SELECT session_id FROM sessions").await;
        assert_eq!(left.len(), 1, "lost under {level}: {} {}", answer.status, answer.text());
        answer.assert_error(503, "temporarily_unavailable");
    }
}

/// A transaction that only reads the gate, as that of `pg_dump` does, holds a copy up for as long as it runs. The copy
/// says so.
#[tokio::test]
async fn a_copy_that_is_held_up_says_so() {
    let (database, _) = Database::filled(Engine::Postgres).await;
    let target = Database::empty(Engine::Sqlite).await;
    let holding = connect(&database).await;
    act(&holding, "BEGIN; SELECT 1 FROM write_gate").await;
    let mut copy = command(&["db", "copy", "--yes", "--from", &database.url, "--to", &target.url]);
    copy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut copy = copy.spawn().expect("it starts");
    let mut said = BufReader::new(copy.stderr.take().expect("it is piped"));
    let waiting = spawn_blocking(move || {
        let mut line = String::new();
        while !line.contains("Waiting for transactions that have begun") {
            line.clear();
            assert_ne!(said.read_line(&mut line).expect("text"), 0, "it ends and does not say so");
        }
        said
    });
    let _rest = waiting.await.expect("it says so");
    act(&holding, "ROLLBACK").await;
    let ended = spawn_blocking(move || copy.wait().expect("a child of ours"));
    assert!(ended.await.expect("no panic").success());
}

/// A change that began before is waited for, and is in the copy: here an import, which a locked row holds up for any
/// time.
#[tokio::test]
async fn a_change_that_began_before_is_waited_for_and_copied() {
    let (database, _) = Database::filled(Engine::Postgres).await;
    let target = Database::empty(Engine::Sqlite).await;
    let (holding, watching) = (connect(&database).await, connect(&database).await);
    // The row that whoever adds users writes first.
    act(&holding, &format!("BEGIN; {}", include_str!("../../sql/postgres/lock_names.sql"))).await;
    let file = database.path("users.csv");
    let hash = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$\
                Ul3MHyLsDpWjPRXYnqFtQL/gPzyRvQTBQWMZbHoNNoQ";
    let text = format!("username,password_hash\nlate,\"{hash}\"\n");
    std::fs::write(&file, text).expect("space");
    let import = ["user", "import", &file, "--scrypt", SCRYPT, "--database", &database.url];
    let copy = ["db", "copy", "--yes", "--from", &database.url, "--to", &target.url];
    let start = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("it starts");
        spawn_blocking(|| child.wait_with_output().expect("a child of ours"))
    };
    let import = start(&import);
    until_one_waits(&watching, "locktype <> 'relation'").await;
    let copy = start(&copy);
    until_one_waits(&watching, "mode = 'AccessExclusiveLock' AND locktype = 'relation'").await;
    assert!(!import.is_finished() && !copy.is_finished());
    act(&holding, "ROLLBACK").await;
    for ended in [import.await.expect("no panic"), copy.await.expect("no panic")] {
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let late = "SELECT username FROM users WHERE username = 'late'";
    assert_eq!(target.query(late).await, [[Some("late".to_owned())]]);
}
