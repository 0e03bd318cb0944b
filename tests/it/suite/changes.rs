//! Changes of users and clients that are made at the same moment, and what each says that it did.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::harness::Database;
use crate::harness::executable::{command, run, run_for_json};

/// Runs commands on a database at the same moment; all must succeed. What they print.
fn at_once(database: &Database, acts: &[Vec<&str>]) -> Vec<String> {
    let started: Vec<_> = acts
        .iter()
        .map(|act| {
            let mut command = command(&[act, &["--database", &database.url][..]].concat());
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command.spawn().expect("it starts")
        })
        .collect();
    let ended = started.into_iter().zip(acts).map(|(child, act)| {
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{act:?}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8")
    });
    ended.collect()
}

fn shown(database: &Database, kind: &str, name: &str) -> Value {
    let shown = run_for_json(&[kind, "show", name, "--json", "--database", &database.url], "");
    if shown.is_array() { shown[0].clone() } else { shown }
}

/// Of several changes of a user or client at the same moment none is lost, and each says what it changed.
#[tokio::test]
async fn changes_at_once_are_all_made() {
    let (database, _) = Database::filled(ENGINE).await;
    for round in 0..5 {
        let (role, scope) = (format!("role{round}"), format!("scope{round}"));
        let required = if round % 2 == 0 { "--mfa-required" } else { "--mfa-required=false" };
        let user = |option: &'static str, value| vec!["user", "set", "alice", option, value];
        let said = at_once(
            &database,
            &[
                user("--role", &role),
                user("--scope", &scope),
                vec!["user", "set", "alice", required],
            ],
        );
        for (said, what) in said.iter().zip(["changed: roles", "changed: scope", "second factor"]) {
            assert!(said.contains(what), "{said}");
        }
        let alice = shown(&database, "user", "alice");
        assert_eq!((&alice["roles"], &alice["scope"]), (&json!([role]), &json!(scope)), "{round}");
        assert_eq!(alice["mfa_required_at"].is_null(), round % 2 == 1, "{round}");

        let lifetime = format!("{}s", 60 + round);
        let grants: &[&str] = if round % 2 == 0 { &["password"] } else { &["refresh_token"] };
        let client = |more: &[&'static str]| [&["client", "set", "web"], more].concat();
        let mut acts = vec![
            vec!["client", "set", "web", "--grant", grants[0]],
            vec!["client", "set", "web", "--access-token-lifetime", &lifetime],
        ];
        acts.push(client(if round % 2 == 0 {
            &["--audience-array"]
        } else {
            &["--audience-array=false"]
        }));
        let said = at_once(&database, &acts);
        for (said, what) in said.iter().zip(["grants", "access_token_lifetime", "audience_array"]) {
            assert!(said.contains(&format!("changed: {what}")), "{said}");
        }
        let web = shown(&database, "client", "web");
        assert_eq!(web["grants"], json!(grants), "{round}: a grant that was removed is back");
        assert_eq!(web["access_token_lifetime"], json!(60 + round), "{round}");
        assert_eq!(web["audience_array"], json!(round % 2 == 0), "{round}");
    }
}

/// Secrets that are added at the same moment are all there, under numbers of their own, and one that is removed
/// meanwhile is not.
#[tokio::test]
async fn secrets_that_are_added_at_once_are_all_there() {
    let (database, _) = Database::filled(ENGINE).await;
    let add = vec!["client", "secret", "add", "web", "--json"];
    let remove = vec!["client", "secret", "remove", "web", "1"];
    let mut said = at_once(&database, &[add.clone(), add.clone(), remove, add.clone(), add]);
    said.remove(2);
    let number = |said: &String| {
        let added: Value = serde_json::from_str(said).expect("JSON");
        added["number"].as_i64().expect("a number")
    };
    let added: BTreeSet<i64> = said.iter().map(number).collect();
    assert_eq!(added.len(), 4, "{said:?}");
    let web = shown(&database, "client", "web");
    let secrets = web["secrets"].as_array().expect("an array").iter();
    let numbers: BTreeSet<i64> = secrets.filter_map(|secret| secret["number"].as_i64()).collect();
    assert_eq!(numbers, added);
}

/// An act that finds everything as it wants it says that nothing was changed, and changes nothing.
#[tokio::test]
async fn an_act_that_changes_nothing_says_so() {
    let (database, _) = Database::filled(ENGINE).await;
    for acts in [
        ["user set bob --scope read", "user set bob --scope read"],
        ["user set mfa --mfa-required", "user set mfa --role= --any-scope"],
        ["user disable disabled", "user enable alice"],
        ["client set web --default-scope read", "client set spa --default-scope read"],
        ["client enable web", "client set nothing --audience-array=false"],
    ] {
        for act in acts {
            let before = database.dump().await;
            let words: Vec<&str> = act.split_whitespace().collect();
            let output = run(&[&words[..], &["--database", &database.url]].concat());
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && said.contains("nothing was changed"),
                "{act}: {said}"
            );
            assert!(database.dump().await == before, "{act}");
        }
    }
    assert!(run(&["client", "disable", "web", "--database", &database.url]).status.success());
    let again = run(&["client", "disable", "web", "--database", &database.url]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing was changed"));
    for unknown in [
        "user set nobody --role x",
        "user enable nobody",
        "client set none --scope x",
        "client disable none",
    ] {
        let words: Vec<&str> = unknown.split_whitespace().collect();
        let output = run(&[&words[..], &["--database", &database.url]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(3) && said.contains("there is no"),
            "{unknown}: {said}"
        );
    }
}
