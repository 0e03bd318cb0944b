//! The command line: what cannot be undone asks first, and passwords are asked for only if they are of use.

use super::*;
use crate::harness::executable::{run_on_terminal, run_without_terminal};
use crate::harness::{Database, run};

/// What cannot be undone, on the database of the tests.
const ACTS: [&[&str]; 3] =
    [&["user", "delete", "bob"], &["client", "delete", "other"], &["key", "rotate", "--emergency"]];

/// The command with its database and master key.
fn on<'a>(act: &[&'a str], url: &'a str, master_key: &'a str) -> Vec<&'a str> {
    let mut all = [act, &["--database", url]].concat();
    if act[0] == "key" {
        all.extend(["--master-key-file", master_key]);
    }
    all
}

/// Without a terminal it is wrong usage that says what to do, and changes nothing; `--yes` is the answer then.
#[tokio::test]
async fn what_cannot_be_undone_is_not_done_unasked() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    for act in ACTS {
        let before = database.dump().await;
        let all = on(act, &database.url, &master_key);
        let output = run_without_terminal(&all);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{act:?}: {said}");
        assert!(said.contains("say --yes to go on, nothing was changed"), "{act:?}: {said}");
        assert!(output.stdout.is_empty(), "{act:?}");
        assert!(database.dump().await == before, "{act:?}");
        let output = run(&[&all[..], &["--yes"]].concat());
        assert!(output.status.success(), "{act:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(database.dump().await != before, "{act:?}");
    }
}

/// On a terminal the command says what will happen, and does it if the answer is yes and not otherwise.
#[tokio::test]
async fn what_cannot_be_undone_asks_on_a_terminal() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    for act in ACTS {
        let before = database.dump().await;
        let all = on(act, &database.url, &master_key);
        for no in ["n\n", "\n", "yesterday\n"] {
            let (code, shown) = run_on_terminal(&all, no);
            assert_eq!(code, Some(1), "{act:?}: {shown}");
            let asks = shown.contains("will ") && shown.contains("Go on? [y/N]");
            assert!(asks && shown.contains("nothing was changed"), "{act:?}: {shown}");
            assert!(database.dump().await == before, "{act:?}");
        }
        let (code, shown) = run_on_terminal(&all, "y\n");
        assert_eq!(code, Some(0), "{act:?}: {shown}");
        assert!(database.dump().await != before, "{act:?}");
    }
}

/// What is not there is said before anything is asked: a user, a client, and a name that is free.
#[tokio::test]
async fn nobody_is_asked_in_vain() {
    let (database, _) = Database::filled(ENGINE).await;
    for (act, code, says) in [
        (&["user", "delete", "ghost"][..], 3, "there is no user ghost"),
        (&["client", "delete", "ghost"], 3, "there is no client ghost"),
        (&["user", "passwd", "ghost"], 3, "there is no user ghost"),
        (&["user", "add", "Alice"], 4, "there is a user alice already"),
    ] {
        let all = [act, &["--database", &database.url]].concat();
        let (ended, shown) = run_on_terminal(&all, "y\n");
        assert_eq!(ended, Some(code), "{act:?}: {shown}");
        assert!(shown.contains(says), "{act:?}: {shown}");
        for question in ["Go on?", "Password:"] {
            assert!(!shown.contains(question), "{act:?}: {shown}");
        }
    }
    // Nor is there a prompt where nobody can answer it.
    for act in [["user", "passwd", "alice"], ["user", "add", "carol"]] {
        let output = run_without_terminal(&[&act[..], &["--database", &database.url]].concat());
        assert_eq!(output.status.code(), Some(2), "{act:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--password-stdin"), "{act:?}");
    }
}
