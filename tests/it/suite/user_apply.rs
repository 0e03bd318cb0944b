//! `jeton user apply`: users as the lines of a file say that they should be.

use serde_json::{Value, json};

use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::executable::run_for_json;
use crate::harness::{Database, run_with_input};

/// Passwords that the policy takes.
const GOOD: &str = "quiet otter harbour";
const BETTER: &str = "seven copper lanterns";
/// A hash that costs little.
const HASH: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";

/// Applies lines: the exit code, the answers and the errors.
fn apply(
    database: &Database,
    lines: &[String],
    options: &[&str],
) -> (Option<i32>, Vec<Value>, String) {
    let usual = ["user", "apply", "-", "--database", &database.url, "--scrypt", SCRYPT];
    let output = run_with_input(&[&usual[..], options].concat(), &lines.concat());
    let answers = String::from_utf8(output.stdout).expect("UTF-8");
    let answers = answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (output.status.code(), answers, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn lines<const N: usize>(values: [Value; N]) -> Vec<String> {
    values.map(|value| format!("{value}\n")).to_vec()
}

/// The outcomes of answers, or their errors.
fn outcomes(answers: &[Value]) -> Vec<&str> {
    let word = |answer| {
        let answer: &Value = answer;
        let (outcome, error) = (answer["outcome"].as_str(), answer["error"].as_str());
        assert!(outcome.is_some() != error.is_some(), "one of both: {answer}");
        outcome.or(error).unwrap_or_default()
    };
    answers.iter().map(word).collect()
}

async fn show(jeton: &Jeton, name: &str) -> Value {
    let (url, name) = (jeton.database.url.clone(), name.to_owned());
    let shown = tokio::task::spawn_blocking(move || {
        run_for_json(&["user", "show", &name, "--json", "--database", &url], "")
    });
    shown.await.expect("it ends")
}

/// Users are added and changed, each line is answered in order, and the same lines again change nothing and end no
/// session.
#[tokio::test]
async fn lines_are_applied_once() {
    let jeton = jeton().await;
    let wanted = lines([
        json!({"username": "Carol", "password": GOOD, "scope": "read write", "role": ["a", "b"]}),
        json!({"username": "dora", "password_hash": HASH, "sub": "42", "mfa_required": true}),
        json!({"username": "emil", "password": GOOD, "disabled": true}),
        json!({"username": "alice", "password": PASSWORD, "role": "user editor", "scope": null}),
        json!({"username": "bob", "password": BETTER}),
    ]);
    let alice = jeton.login_through("web", "").await;
    let bob = jeton.token(&login_form("bob", PASSWORD)).await;
    let (code, answers, errors) = apply(&jeton.database, &wanted, &[]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(outcomes(&answers), ["added", "added", "added", "unchanged", "changed"]);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], index + 1);
        let shown = show(&jeton, answer["username"].as_str().expect("a name")).await;
        assert_eq!(answer["sub"], shown["sub"]);
    }
    assert_eq!((&answers[0]["username"], &answers[1]["sub"]), (&json!("carol"), &json!("42")));
    assert_eq!(answers[4]["changed"], json!(["password"]));
    assert!(jeton.is_active(&alice.access_token()).await, "the password is the same");
    assert!(!jeton.is_active(&bob.access_token()).await, "the password is another");
    let carol = show(&jeton, "carol").await;
    assert_eq!((&carol["scope"], &carol["roles"]), (&json!("read write"), &json!(["a", "b"])));
    assert!(show(&jeton, "emil").await["disabled_at"].is_i64());
    assert!(show(&jeton, "dora").await["mfa_required_at"].is_i64());

    let login = jeton.token(&login_form("carol", GOOD)).await;
    let before = jeton.database.query("SELECT * FROM users ORDER BY user_id").await;
    let (code, answers, _) = apply(&jeton.database, &wanted, &[]);
    assert_eq!((code, outcomes(&answers)), (Some(0), vec!["unchanged"; 5]));
    let after = jeton.database.query("SELECT * FROM users ORDER BY user_id").await;
    assert_eq!(after, before, "the same again changes nothing");
    assert!(jeton.is_active(&login.access_token()).await);

    // What a line does not say stays; a role that is taken away is gone.
    let (_, answers, _) = apply(
        &jeton.database,
        &lines([
            json!({"username": "carol", "role": []}),
            json!({"username": "emil", "disabled": false}),
        ]),
        &[],
    );
    assert_eq!(answers[0]["changed"], json!(["roles"]));
    assert_eq!(answers[1]["changed"], json!(["disabled"]));
    assert_eq!(show(&jeton, "carol").await["scope"], "read write");
    assert!(jeton.is_active(&login.access_token()).await);
    jeton.token(&login_form("emil", GOOD)).await.access_token();
    apply(&jeton.database, &lines([json!({"username": "carol", "disabled": true})]), &[]);
    assert!(!jeton.is_active(&login.access_token()).await);
}

/// With `--new-only` nobody who is there is touched, so that signing up as somebody takes nothing from them.
#[tokio::test]
async fn new_only_leaves_everybody_as_they_are() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let before = database.dump().await;
    let attack = json!({
        "username": "ALICE", "password": GOOD, "role": ["admin"], "scope": "admin", "disabled": true,
        "mfa_required": true,
    });
    let (code, answers, _) = apply(&database, &lines([attack]), &["--new-only"]);
    assert_eq!((code, outcomes(&answers)), (Some(0), vec!["exists"]));
    assert_eq!(answers[0]["sub"], fixtures.sub("alice"));
    assert_eq!(database.dump().await, before);
    let new = lines([json!({"username": "carol", "password": GOOD})]);
    assert_eq!(outcomes(&apply(&database, &new, &["--new-only"]).1), ["added"]);
}

/// A line that cannot be applied is answered with why, in its place, and does not keep the others from being applied.
/// No answer repeats a password or a hash.
#[tokio::test]
async fn a_bad_line_does_not_stop_the_others() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let sub = fixtures.sub("alice");
    let cases = [
        ("{\"username\": \"x\", ".to_owned(), "usage"),
        ("[1]".to_owned(), "usage"),
        (json!({"password": GOOD}).to_string(), "usage"),
        (json!({"username": "two words", "password": GOOD}).to_string(), "usage"),
        (json!({"username": "x"}).to_string(), "usage"),
        (json!({"username": "x", "pasword": GOOD}).to_string(), "usage"),
        (json!({"username": "x", "password": 7}).to_string(), "usage"),
        (json!({"username": "x", "password_hash": "hunter2hunter2"}).to_string(), "usage"),
        (json!({"username": "x", "password": GOOD, "password_hash": HASH}).to_string(), "usage"),
        (json!({"username": "x", "password": GOOD, "disabled": "perhaps"}).to_string(), "usage"),
        (json!({"username": "x", "password": GOOD, "scope": "a\"b"}).to_string(), "usage"),
        (json!({"username": "x", "password": "short"}).to_string(), "refused"),
        (json!({"username": "alice", "password": "short"}).to_string(), "refused"),
        (json!({"username": "x", "password": GOOD, "sub": sub}).to_string(), "conflict"),
        (json!({"username": "x", "password": GOOD, "sub": "web"}).to_string(), "conflict"),
        (json!({"username": "alice", "sub": "another"}).to_string(), "conflict"),
    ];
    let before = database.dump().await;
    let mut all: Vec<String> = cases.iter().map(|(line, _)| format!("{line}\n")).collect();
    let (code, answers, errors) = apply(&database, &all, &[]);
    assert_eq!((code, errors.lines().count()), (Some(1), 1), "{errors}");
    let expected: Vec<&str> = cases.iter().map(|(_, error)| *error).collect();
    assert_eq!(outcomes(&answers), expected, "{answers:?}");
    assert_eq!(database.dump().await, before);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], index + 1);
        let message = answer["message"].as_str().expect("a sentence");
        for secret in [GOOD, HASH, "hunter2"] {
            assert!(!message.is_empty() && !message.contains(secret), "{message}");
        }
    }
    all.extend(["\n".to_owned(), format!("{}\n", json!({"username": "carol", "password": GOOD}))]);
    let (code, answers, _) = apply(&database, &all, &[]);
    assert_eq!(code, Some(1));
    assert_eq!(answers.last().map(|answer| &answer["outcome"]), Some(&json!("added")));
    assert_eq!(answers.last().map(|answer| &answer["line"]), Some(&json!(cases.len() + 2)));
}

/// When the database is gone the rest is not tried, and the exit code says that later is better.
#[tokio::test]
async fn a_database_that_is_gone_ends_it() {
    let (database, _) = Database::filled(ENGINE).await;
    let refusal = database.refuse_writes().await;
    let wanted = lines([
        json!({"username": "carol", "password_hash": HASH}),
        json!({"username": "dora", "password_hash": HASH}),
    ]);
    let (code, answers, errors) = apply(&database, &wanted, &[]);
    refusal.end().await;
    assert_eq!(code, Some(6), "{errors}");
    // A file that is locked cannot even be opened.
    if !answers.is_empty() {
        assert_eq!(outcomes(&answers), ["unavailable"], "{errors}");
        assert!(errors.contains("The lines after 1 were not applied"), "{errors}");
    }
    assert_eq!(outcomes(&apply(&database, &wanted, &[]).1), ["added", "added"]);
}
