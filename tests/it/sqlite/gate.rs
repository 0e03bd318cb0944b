//! Closing the gate of a SQLite file waits for the transaction that writes to it.

use std::process::Stdio;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::harness::executable::command;
use crate::harness::{Database, Engine};

/// A change that began before `jeton db copy` closes the source is waited for, and is in the copy.
#[tokio::test]
async fn a_change_that_began_before_is_waited_for_and_copied() {
    let (source, _) = Database::filled(Engine::Sqlite).await;
    let target = Database::migrated(Engine::Sqlite).await;
    let path = source.url.strip_prefix("sqlite:").expect("a file");
    let writer = rusqlite::Connection::open(path).expect("the file of the test");
    let change = "BEGIN IMMEDIATE; UPDATE users SET scope = 'late' WHERE username = 'bob'";
    writer.execute_batch(change).expect("the write lock");
    let mut copy = command(&["db", "copy", "--yes", "--from", &source.url, "--to", &target.url]);
    copy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let copy = copy.spawn().expect("it starts");
    // It closes the gate of the target first, and then comes to that of the source.
    let comes = async {
        while target.query("SELECT reason FROM write_gate").await.is_empty() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_mins(1), comes).await.expect("it prepares the target");
    writer.execute_batch("COMMIT").expect("its own transaction");
    let ended = spawn_blocking(|| copy.wait_with_output().expect("a child of ours")).await;
    let ended = ended.expect("no panic");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let copied = target.query("SELECT scope FROM users WHERE username = 'bob'").await;
    assert_eq!(copied, [[Some("late".to_owned())]]);
}
