//! The command line: how programs tell failures apart. `docs/command-line.md`

use std::process::Output;

use serde_json::Value;

use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::{Database, Engine, run_with_input};

/// A password that the policy takes.
const GOOD: &str = "quiet otter harbour\n";

/// The sentence of an error for people.
fn sentence(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.trim_start_matches("error: ").trim_end().to_owned()
}

/// The error that was printed as JSON, behind notes.
fn printed_error(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a command that must fail in this way: with the exit code, and with the same sentence as JSON if that is asked
/// for.
#[track_caller]
fn assert_fails(arguments: &[&str], input: &str, (code, error): (i32, &str)) {
    let output = run_with_input(arguments, input);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", sentence(&output));
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let for_program = run_with_input(&[arguments, &["--json"]].concat(), input);
    if for_program.status.code() == Some(2) && code != 2 {
        return; // The command has no such option.
    }
    assert_eq!(for_program.status.code(), Some(code), "{arguments:?}");
    let printed = printed_error(&for_program);
    assert_eq!(printed["error"], error, "{arguments:?}");
    if code != 2 {
        assert_eq!(printed["message"], sentence(&output), "{arguments:?}");
    }
    let members = printed.as_object().expect("an object").len();
    assert_eq!((members, for_program.stdout.len()), (2, 0), "{arguments:?}");
}

/// Each kind of failure has an exit code of its own, and with `--json` an object with its name.
#[tokio::test]
async fn failures_are_told_apart() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let on = |arguments: &[&'static str]| -> Vec<String> {
        let words = arguments.iter().map(|word| (*word).to_owned());
        let mut all: Vec<String> = words.collect();
        all.extend(["--database".to_owned(), database.url.clone()]);
        if arguments[0] == "key" {
            all.extend(["--master-key-file".to_owned(), master_key.clone()]);
        }
        if arguments.contains(&"--password-stdin") {
            all.extend(["--scrypt".to_owned(), SCRYPT.to_owned()]);
        }
        all
    };
    let before = database.dump().await;
    let sub = fixtures.sub("alice").to_owned();
    for (arguments, input, expected) in [
        (&["user", "add"][..], "", (2, "usage")),
        (&["user", "add", "two words"], "", (2, "usage")),
        (&["user", "frobnicate"], "", (2, "usage")),
        (&["client", "add", "x", "--grant", "password"], "", (2, "usage")),
        (&["user", "show", "ghost"], "", (3, "not_found")),
        (&["user", "passwd", "ghost", "--password-stdin"], GOOD, (3, "not_found")),
        (&["client", "show", "ghost"], "", (3, "not_found")),
        (&["client", "secret", "add", "ghost"], "", (3, "not_found")),
        (&["client", "secret", "remove", "web", "9"], "", (3, "not_found")),
        (&["session", "list", "--user", "ghost"], "", (3, "not_found")),
        (&["session", "revoke", "AAAAAAAAAAAAAAAAAAAAAA"], "", (3, "not_found")),
        (&["key", "revoke", "ghost", "--yes"], "", (3, "not_found")),
        (&["key", "export", "--public", "ghost"], "", (3, "not_found")),
        (&["user", "add", "ALICE", "--password-stdin"], GOOD, (4, "conflict")),
        (&["client", "add", "web"], "", (4, "conflict")),
        (&["user", "add", "carol", "--password-stdin"], "short\n", (5, "refused")),
        (&["user", "passwd", "alice", "--password-stdin"], "short\n", (5, "refused")),
        (&["client", "secret", "add", "spa"], "", (5, "refused")),
        (&["user", "import", "/no/such/file"], "", (1, "failed")),
    ] {
        let all = on(arguments);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_fails(&all, input, expected);
    }
    let like_a_user = ["client", "add", "--public", "--database", &database.url, "--", &sub];
    assert_eq!(run_with_input(&like_a_user, "").status.code(), Some(4));
    assert_eq!(database.dump().await, before, "nothing was changed");

    let rotate = on(&["key", "rotate", "--yes"]);
    let rotate: Vec<&str> = rotate.iter().map(String::as_str).collect();
    assert_eq!(run_with_input(&rotate, "").status.code(), Some(0));
    assert_fails(&rotate, "", (4, "conflict"));
}

/// A database that cannot be reached now is told apart from one that is not there.
#[tokio::test]
async fn an_unavailable_database_is_told_apart() {
    let none = format!("sqlite:{}", Database::empty(Engine::Sqlite).await.path("none.db"));
    assert_fails(&["user", "list", "--database", &none], "", (1, "failed"));
    let (database, _) = Database::filled(ENGINE).await;
    let disable = |url: &str| {
        assert_fails(&["user", "disable", "alice", "--database", url], "", (6, "unavailable"));
    };
    match ENGINE {
        Engine::Postgres => disable("postgres://jeton@127.0.0.1:1/jeton"),
        Engine::Sqlite => {
            let path = database.url.trim_start_matches("sqlite:");
            let other = rusqlite::Connection::open(path).expect("the same file");
            other.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
            disable(&database.url);
        }
    }
}
