//! Another name, and another password, for a user.

use std::process::Output;

use jeton_oauth::resource_owner::Username;
use jeton_oauth::{Reason, Secret};
use jeton_service::throttle::Throttle;
use jeton_service::throttle::origin::Origin;
use jeton_service::{Refusal, present_password};
use jeton_store::users::FindUser;
use jeton_store::{DatabaseLocation, Store};
use serde_json::Value;
use tokio::task::JoinSet;

use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::forge::claims;
use crate::harness::run_with_input;

const WRONG: &str = "tuesday fern lamb";
const NEW: &str = "quill lamp tern 5";

/// Whether a user can log in with a password.
async fn can_log_in(jeton: &Jeton, user: &str, password: &str) -> bool {
    let reply = jeton.token(&login_form(user, password)).await;
    if reply.status != 200 {
        reply.assert_error(400, "invalid_grant");
    }
    reply.status == 200
}

/// Runs a command on the database of a service.
async fn command(jeton: &Jeton, arguments: &[&str], input: &str) -> Output {
    let url = ["--database".to_owned(), jeton.database.url.clone()];
    let all = arguments.iter().map(|&text| text.to_owned()).chain(url).collect::<Vec<_>>();
    let input = input.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        run_with_input(&all.iter().map(String::as_str).collect::<Vec<_>>(), &input)
    });
    run.await.expect("it ends")
}

/// Changes the password of a user who knows the present one; the exit code.
async fn change(jeton: &Jeton, user: &str, present: &str, further: &[&str]) -> Option<i32> {
    let master = jeton.fixtures.master_key.display().to_string();
    let change = ["user", "passwd", user, "--current-stdin", "--scrypt", SCRYPT, "--json"];
    let all = [&change[..], &["--master-key-file", &master], further].concat();
    command(jeton, &all, &format!("{present}\n{NEW}\n")).await.status.code()
}

/// RFC 9068 §2.2, RFC 8265 §3.3: the new name is prepared like any; `sub` and sessions stay, and a name that is taken is
/// refused.
#[tokio::test]
async fn a_renamed_user_keeps_sub_and_sessions() {
    let jeton = jeton().await;
    let session = jeton.login_through("web", "").await;
    let rename = command(&jeton, &["user", "rename", "ALICE", "Caf\u{e9}"], "").await;
    assert!(rename.status.success(), "{rename:?}");
    let refreshed = jeton.refresh("web", &session.refresh_token(), "").await;
    let sub = jeton.fixtures.sub("alice");
    assert_eq!(claims(&refreshed.access_token())["sub"], sub);
    assert!(!can_log_in(&jeton, "alice", PASSWORD).await);
    let login = jeton.token(&login_form("cafe\u{301}", PASSWORD)).await;
    assert_eq!(claims(&login.access_token())["sub"], sub);

    let before = jeton.database.dump().await;
    for (arguments, code) in [
        (["user", "rename", "caf\u{e9}", "BOB"], 4),
        (["user", "rename", "alice", "carol"], 3),
        (["user", "rename", "bob", "two words"], 2),
        (["user", "rename", "bob", "Bob"], 0),
    ] {
        let output = command(&jeton, &arguments, "").await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    assert_eq!(jeton.database.dump().await, before);

    // The sub finds whoever it belongs to.
    let master = jeton.fixtures.master_key.display().to_string();
    for who in ["caf\u{e9}", sub] {
        let show = ["user", "show", who, "--json", "--master-key-file", &master];
        let shown: Value = serde_json::from_str(&jeton.run(&show, "").await).expect("JSON");
        assert_eq!((&shown["sub"], &shown["username"]), (&sub.into(), &"caf\u{e9}".into()));
    }
    assert_eq!(command(&jeton, &["user", "show", "alice"], "").await.status.code(), Some(3));
}

/// NIST SP 800-63B-4 §3.2.2: failures follow the user to another name; what was tried with that name before, when
/// nobody had it, does not count.
#[tokio::test]
async fn failed_logins_follow_the_user_and_not_the_name() {
    let jeton = jeton().await;
    for number in 0..5 {
        for user in ["alice", "carol"] {
            assert!(!can_log_in(&jeton, user, &format!("{WRONG} {number}")).await);
        }
    }
    assert!(!can_log_in(&jeton, "alice", PASSWORD).await, "held back");
    for names in [["bob", "carol"], ["alice", "dave"]] {
        let rename = [&["user", "rename"][..], &names].concat();
        assert!(command(&jeton, &rename, "").await.status.success());
    }
    assert!(can_log_in(&jeton, "carol", PASSWORD).await, "bob is not held back");
    assert!(!can_log_in(&jeton, "dave", PASSWORD).await, "alice still is");
    assert!(jeton.try_add_user("alice", NEW, &[]).await);
    assert!(can_log_in(&jeton, "alice", NEW).await, "another alice is not");
}

/// NIST SP 800-63B-4 §3.1.1: a password that an operator chose is refused like a wrong one, with a reason in the log,
/// until the user has changed it.
#[tokio::test]
async fn a_temporary_password_must_be_changed_before_the_next_login() {
    let jeton = jeton().await;
    let session = jeton.login_through("web", "").await;
    let set = ["user", "passwd", "alice", "--temporary", "--password-stdin", "--scrypt", SCRYPT];
    let temporary = "a temporary password";
    assert!(command(&jeton, &set, temporary).await.status.success());
    assert!(!jeton.is_active(&session.access_token()).await, "all sessions have ended");
    let wrong = jeton.token(&login_form("alice", WRONG)).await;
    let refused = jeton.token(&login_form("alice", temporary)).await;
    assert_eq!(refused.comparable(), wrong.comparable());
    let outcome = r#"jeton_token_requests_total{grant="password",outcome="temporary_password"}"#;
    assert_eq!(jeton.metric(outcome).await, 1);
    let list = jeton.run(&["user", "list", "--name", "alice"], "").await;
    assert!(list.contains("temporary password"), "{list}");

    assert_eq!(change(&jeton, "alice", WRONG, &[]).await, Some(5));
    assert_eq!(change(&jeton, "alice", temporary, &[]).await, Some(0));
    assert!(can_log_in(&jeton, "alice", NEW).await);
}

/// RFC 6749 §10.10, NIST SP 800-63B-4 §3.2.2: the present password is guessed at no faster here than by logging in,
/// whoever starts how many commands at once, and failures here and there are counted together.
#[tokio::test]
async fn the_present_password_is_throttled_like_a_login() {
    let jeton = jeton().await;
    // Who may not log in may not change the password; nor does a new one pass that is too short.
    for user in ["disabled", "mfa"] {
        assert_eq!(change(&jeton, user, PASSWORD, &[]).await, Some(5), "{user}");
    }
    assert_eq!(change(&jeton, "ghost", PASSWORD, &[]).await, Some(3));
    assert_eq!(change(&jeton, "alice", PASSWORD, &["--client", "ghost"]).await, Some(3));
    assert_eq!(change(&jeton, "alice", PASSWORD, &["--temporary"]).await, Some(2));
    // Each of these is to the others what another process is.
    let guesses = (0..9).map(|number| guess(&jeton, format!("{WRONG} {number}")));
    let guesses: JoinSet<_> = guesses.collect();
    let outcomes = guesses.join_all().await;
    let count = |reason: Reason| outcomes.iter().filter(|outcome| **outcome == reason).count();
    assert_eq!((count(Reason::WrongPassword), count(Reason::ThrottledAccount)), (5, 4));
    // As if the last of them were to come, so that the wait of a second is not over.
    jeton.database.query("UPDATE login_throttle SET failed_at = failed_at + 600").await;
    assert_eq!(change(&jeton, "alice", PASSWORD, &[]).await, Some(5), "held back");
    assert!(!can_log_in(&jeton, "alice", PASSWORD).await, "here too");
    assert!(can_log_in(&jeton, "bob", PASSWORD).await);

    // Where the user has logged in before, failures elsewhere do not matter.
    assert_eq!(change(&jeton, "bob", WRONG, &[]).await, Some(5));
    let session = jeton.token(&login_form("bob", PASSWORD)).await;
    assert_eq!(change(&jeton, "bob", PASSWORD, &["--client", "web"]).await, Some(0));
    assert!(!jeton.is_active(&session.access_token()).await);
    assert!(can_log_in(&jeton, "bob", NEW).await);
    // A success takes back what was counted in advance, and no more.
    let failures = "SELECT SUM(failures) FROM login_throttle";
    let before = jeton.database.query(failures).await;
    assert_eq!(change(&jeton, "zo\u{e9}", PASSWORD_OF_ZOE, &[]).await, Some(0));
    assert_eq!(jeton.database.query(failures).await, before);
}

/// RFC 6749 §10.10: who changes an own password takes back nothing that failed at the same address.
#[tokio::test]
async fn a_changed_password_resets_no_counter_of_an_address() {
    let jeton = jeton().await;
    let try_as = async |user: &str, password: &str| {
        jeton.post_as("spa", "/token", &login_form(user, password)).send().await.status
    };
    for number in 0..29 {
        assert_eq!(try_as(&format!("nobody-{number}"), WRONG).await, 400);
    }
    jeton.clock.advance(1);
    let changed = format!("UPDATE users SET password_changed_at = {}", jeton.clock.now().0);
    jeton.database.query(&changed).await;
    assert_eq!(try_as("alice", WRONG).await, 400);
    assert_eq!(try_as("bob", PASSWORD).await, 429);
}

/// Guesses at the present password of alice, and returns why that was refused.
fn guess(jeton: &Jeton, password: String) -> impl Future<Output = Reason> + use<> {
    let place: DatabaseLocation = jeton.database.url.parse().expect("a database");
    let (files, clock) = ([jeton.fixtures.master_key.clone()], jeton.clock.clone());
    async move {
        let store = Store::open(&place).await.expect("it opens");
        let username = Username::parse("alice").expect("a name");
        let user = store.perform(FindUser { username }).await.expect("a row").expect("alice");
        let throttle = Throttle::of_command(store, &files, clock).await.expect("a key");
        let origin = Origin::of_command();
        match present_password::verify(
            &throttle,
            origin,
            &user,
            &user.password_hash,
            Secret::new(password),
        )
        .await
        {
            Err(Refusal::Protocol(reason)) => reason,
            outcome => panic!("{outcome:?}"),
        }
    }
}
