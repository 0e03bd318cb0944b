//! The name of a client and the `sub` of a user never meet: whoever had both could pass for the other (RFC 9068 §5).

use std::process::Output;

use super::*;
use crate::harness::executable::command;
use crate::harness::{Database, run, run_with_input};

/// A hash that costs little.
const HASH: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";

fn import(database: &Database, name: &str, sub: &str, options: &[&str]) -> Output {
    let text = format!("username,sub,password_hash\nzoe,other,{HASH}\n{name},{sub},{HASH}\n");
    let arguments = [&["user", "import", "-", "--database", &database.url], options].concat();
    run_with_input(&arguments, &text)
}

fn add_client(database: &Database, name: &str) -> Output {
    run(&["client", "add", name, "--public", "--database", &database.url])
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whoever comes second is refused, and told why; nothing is changed. [J-19]
#[tokio::test]
async fn a_client_and_a_user_are_not_called_the_same() {
    let database = Database::empty(ENGINE).await;
    assert!(add_client(&database, "billing").status.success());
    for options in [&[][..], &["--dry-run"]] {
        let output = import(&database, "anna", "billing", options);
        assert_eq!(output.status.code(), Some(1));
        let said = said(&output);
        assert!(said.contains("line 3: its sub is the name of a client"), "{said}");
    }
    assert_eq!(database.query("SELECT COUNT(*) FROM users").await[0][0].as_deref(), Some("0"));

    assert!(import(&database, "anna", "reports", &[]).status.success());
    let before = database.dump().await;
    let output = add_client(&database, "reports");
    assert_eq!(output.status.code(), Some(4));
    assert!(said(&output).contains("reports is the sub of a user"), "{}", said(&output));
    assert_eq!(database.dump().await, before);
    let again = add_client(&database, "billing");
    assert!(said(&again).contains("there is a client billing already"), "{}", said(&again));

    // A client that is disabled still has its name; one that was deleted has none.
    let url = ["--database", &database.url];
    assert!(run(&[&["client", "disable", "billing"], &url[..]].concat()).status.success());
    assert!(!import(&database, "bert", "billing", &[]).status.success());
    assert!(run(&[&["client", "delete", "billing", "--yes"], &url[..]].concat()).status.success());
    assert!(import(&database, "bert", "billing", &[]).status.success());
}

/// Of a client and users that come at the same moment one is refused. [J-19]
#[tokio::test]
async fn of_a_client_and_a_user_that_race_one_is_refused() {
    let database = Database::empty(ENGINE).await;
    let mut winners = Vec::new();
    for round in 0..12 {
        let name = format!("name-{round}");
        let arguments = ["client", "add", &name, "--public", "--database", &database.url];
        let mut client = command(&arguments);
        client.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut client = client.spawn().expect("it starts");
        let user = import(&database, &format!("user{round}"), &name, &[]);
        let client = client.wait().expect("a child of ours");
        assert!(client.success() != user.status.success(), "{name}: {client} {}", said(&user));
        winners.push(client.success());
    }
    let both = "SELECT COUNT(*) FROM users JOIN clients ON user_id = client_id";
    assert_eq!(database.query(both).await[0][0].as_deref(), Some("0"), "{winners:?}");
}
