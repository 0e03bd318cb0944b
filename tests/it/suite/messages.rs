//! The command line: what people are told who mistype, forget or misjudge something.

use super::*;
use crate::harness::keys::key_command;
use crate::harness::{Database, run};

/// Runs a command that must fail with this code and say all of this.
#[track_caller]
fn assert_says(arguments: &[&str], code: i32, says: &[&str]) {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    for part in says {
        assert!(errors.contains(part), "{arguments:?} says {part:?}: {errors}");
    }
}

/// An address may have the name of a host; what is no address says how one is written.
#[tokio::test]
async fn addresses_may_be_names() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let usual = ["--database", &database.url, "--master-key-file", &master_key];
    let by_name = ["--listen", "localhost:0", "--management-listen", "localhost:0"];
    let output = run(&[&["check"][..], &usual, &by_name].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (text, says) in [
        ("localhost", "write a host and a port, as 127.0.0.1:8080"),
        ("8080", "write a host and a port"),
        ("no-such-host.invalid:80", "the host cannot be resolved"),
    ] {
        assert_says(&["serve", "--listen", text], 2, &["--listen", says]);
    }
}

/// A password in a URL with a sign that ends it says which signs are to be escaped, and how.
#[tokio::test]
async fn a_password_that_breaks_the_url_says_what_to_escape() {
    for (url, sign) in [
        ("postgres://jeton:p@ss@127.0.0.1:1/jeton", "%40"),
        ("postgres://jeton:p?ss@127.0.0.1:1/jeton", "%3F"),
    ] {
        let output = run(&["user", "list", "--database", url]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(sign), "{url}: {errors}");
        assert!(!errors.contains("ss@") && !errors.contains("word@"), "{errors}");
    }
}

/// A command without a decision says how to make one, and a file that is missing is named in words.
#[tokio::test]
async fn what_was_forgotten_is_named() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let on = ["--database", &database.url];
    let set = [&["client", "set", "web"][..], &on].concat();
    assert_says(&set, 2, &["say what to change", "--scope read", "jeton client show"]);
    let set = [&["user", "set", "alice"][..], &on].concat();
    assert_says(&set, 2, &["say what to change", "--role editor", "jeton user show"]);
    let doctor = ["doctor", "https://localhost:1", "--ca", "/no/such.pem"];
    assert_says(&doctor, 1, &["cannot read /no/such.pem (--ca): No such file", "name a PEM file"]);

    let master_key = fixtures.master_key.display().to_string();
    let rotate = || key_command(&database, &master_key, &["rotate", "--yes"], "");
    assert!(rotate().status.success());
    let again = rotate();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    for part in ["there is nothing to do", "signs by itself from", "jeton key rotate --emergency"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// What failed logins do is told apart for new origins and for those that the account knows.
#[tokio::test]
async fn failed_logins_are_told_by_their_origin() {
    let jeton = jeton().await;
    let master_key = jeton.fixtures.master_key.display().to_string();
    let show = ["user", "show", "alice", "--master-key-file", &master_key];
    let shown = jeton.run(&show, "").await.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("No failed logins from new origins: none waits."), "{shown}");
    jeton.login_through("web", "").await;
    jeton.token(&login_form("alice", "wrong")).await;
    let shown = jeton.run(&show, "").await.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("of these wait for failed logins of their own: 0."), "{shown}");
}
