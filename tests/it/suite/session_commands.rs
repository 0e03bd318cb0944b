//! The command line: sessions, the key of refresh tokens, and what has expired.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::harness::forge::claims;
use crate::harness::terminal::type_in_terminal;
use crate::harness::{RefreshToken, Request, run};

const API1: &str = "https://api1.example";
const API2: &str = "https://api2.example";

/// The JSON that a command prints.
async fn json_of(jeton: &Jeton, arguments: &str) -> Value {
    let arguments: Vec<&str> = arguments.split_whitespace().chain(["--json"]).collect();
    serde_json::from_str(&jeton.run(&arguments, "").await).expect("JSON")
}

/// What a command prints for people.
async fn text_of(jeton: &Jeton, arguments: &str) -> String {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    jeton.run(&arguments, "").await
}

/// The session that an entry of the list is about.
fn session_id(listed: &Value) -> String {
    listed["session_id"].as_str().expect("text").to_owned()
}

/// The session of a token response.
fn sid(reply: &Reply) -> String {
    claims(&reply.access_token())["sid"].as_str().expect("text").to_owned()
}

/// Makes a new key for refresh tokens, and returns when it is to be used. The command has the real
/// clock, which goes on while the test's stands still.
async fn rotate_refresh_key(jeton: &Jeton) -> i64 {
    let master_key = jeton.fixtures.master_key.display().to_string();
    jeton.run(&["key", "rotate", "--refresh", "--master-key-file", &master_key], "").await;
    let dates = "SELECT created_at, activates_at FROM keys WHERE purpose = 'refresh' \
                 ORDER BY generation DESC";
    let row = jeton.database.query(dates).await.remove(0);
    let [made, used] = [0, 1].map(|index| row[index].as_deref().expect("a date").parse::<i64>());
    let (made, used) = (made.expect("a number"), used.expect("a number"));
    assert_eq!(used - made, 60, "a minute later");
    used
}

/// Refreshes at one replica until it uses another key, and returns the first token under it. A replica
/// looks at the keys every few seconds of real time.
async fn refresh_until_another_key(
    jeton: &Jeton,
    client_id: &str,
    token: &str,
    address: SocketAddr,
) -> String {
    let old = RefreshToken::of(token).key;
    let mut token = token.to_owned();
    for _ in 0..600 {
        token = jeton.refreshing(client_id, &token, "").at(address).send().await.refresh_token();
        if RefreshToken::of(&token).key != old {
            return token;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{address} goes on with the old key");
}

/// Asserts that a command fails with one sentence that says all of this.
fn fail(jeton: &Jeton, arguments: &[&str], code: i32, says: &[&str]) {
    let output = run(&[arguments, &["--database", &jeton.database.url]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    for part in says {
        assert!(errors.contains(part), "{arguments:?} says {part:?}: {errors}");
    }
}

/// The live sessions of a user are listed, all or those of one client, with what an operator wants to
/// know and nothing that could be presented.
#[tokio::test]
async fn sessions_are_listed() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "&scope=read+write").await;
    let begin = jeton.clock.now().0;
    let both = format!("&resource={API1}&resource={API2}");
    jeton.clock.advance(60);
    let other = jeton.login_through("other", &both).await;
    let bob = jeton.token(&login_form("bob", PASSWORD)).await;
    jeton.clock.advance(60);
    let refreshed = jeton.refresh("web", &login.refresh_token(), "&scope=read").await;

    let of_web = json_of(&jeton, "session list --user alice --client web").await;
    let expected = json!([{
        "session_id": sid(&login),
        "client_id": "web",
        "scope": "read write",
        "audiences": [API1],
        "generation": 1,
        "auth_time": begin,
        "refreshed_at": begin + 120,
        "expires_at": begin + 120 + 14 * 86_400,
        "ends_at": begin + 30 * 86_400,
    }]);
    assert_eq!(of_web, expected);
    let all = json_of(&jeton, "session list --user alice").await;
    let ids: BTreeSet<_> = all.as_array().expect("an array").iter().map(session_id).collect();
    assert_eq!(ids, BTreeSet::from([sid(&login), sid(&other)]));
    let second = all.as_array().expect("an array").iter().find(|s| s["client_id"] == "other");
    let second = second.expect("the session of `other`");
    assert_eq!((&second["audiences"], &second["generation"]), (&json!([API1, API2]), &json!(0)));
    assert_eq!(second["refreshed_at"], second["auth_time"]);

    let table = text_of(&jeton, "session list --user ALICE --wide").await;
    for part in [sid(&login), sid(&other), "web".to_owned(), "read write".to_owned()] {
        assert!(table.contains(&part), "{part} in {table}");
    }
    assert!(!table.contains(&sid(&bob)), "{table}");
    for reply in [&login, &refreshed, &other] {
        let token = reply.refresh_token();
        for printed in [&table, &all.to_string()] {
            assert!(!printed.contains(&token) && !printed.contains(&token[46..]), "{printed}");
        }
    }
    assert_eq!(json_of(&jeton, "session list --user alice --client spa").await, json!([]));
    fail(&jeton, &["session", "list", "--user", "ghost"], 3, &["ghost"]);
    fail(&jeton, &["session", "list"], 2, &["--user"]);
}

/// A session, or all of a user, can be ended by hand: at once and at every replica, as all ways to end
/// it. [I-18]
#[tokio::test]
async fn sessions_are_revoked() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let logins = [
        ("web", jeton.login_through("web", "").await),
        ("web", jeton.login_through("web", "").await),
        ("other", jeton.login_through("other", "").await),
        ("norefresh", jeton.login_through("norefresh", "").await),
    ];
    let bob = jeton.token(&login_form("bob", PASSWORD)).await;
    let active = async |reply: &Reply| {
        let form = format!("token={}", reply.access_token());
        let there: Request = jeton.post_as("rs1", "/introspect", &form).at(replica.public);
        there.send().await.json()["active"] == true
    };
    jeton.command(&format!("session revoke {}", sid(&logins[0].1))).await;
    for (number, (_, login)) in logins.iter().enumerate() {
        assert_eq!(active(login).await, number > 0, "{number}");
    }
    jeton.command("session revoke --user Alice").await;
    for (client, login) in &logins {
        assert!(!active(login).await, "{client}");
        if *client != "norefresh" {
            let there = jeton.refreshing(client, &login.refresh_token(), "").at(replica.public);
            there.send().await.assert_error(400, "invalid_grant");
        }
    }
    assert_eq!(json_of(&jeton, "session list --user alice").await, json!([]));
    assert!(active(&bob).await);
    jeton.refresh("web", &bob.refresh_token(), "").await.refresh_token();
    // The user is as good as before.
    jeton.login_through("web", "").await.refresh_token();

    let gone = sid(&logins[0].1);
    fail(&jeton, &["session", "revoke", &gone], 3, &[&gone]);
    fail(&jeton, &["session", "revoke", "--user", "ghost"], 3, &["ghost"]);
    fail(&jeton, &["session", "revoke"], 2, &["--user"]);
    fail(&jeton, &["session", "revoke", &gone, "--user", "alice"], 2, &["--user"]);
}

/// Ids are random text, so some look like options. They are ids all the same.
#[tokio::test]
async fn a_session_with_any_id_can_be_revoked() {
    let jeton = jeton().await;
    let bob = jeton.token(&login_form("bob", PASSWORD)).await;
    for start in ["-", "--", "-h", "-user", "--user", "--help", "_"] {
        let login = jeton.login_through("web", "").await;
        let id = format!("{start:A<22}");
        let rename =
            format!("UPDATE sessions SET session_id = '{id}' WHERE session_id = '{}'", sid(&login));
        jeton.database.query(&rename).await;
        let listed = json_of(&jeton, "session list --user alice").await;
        assert_eq!(listed[0]["session_id"], *id);
        jeton.run(&["session", "revoke", &id], "").await;
        assert_eq!(json_of(&jeton, "session list --user alice").await, json!([]), "{id}");
    }
    assert!(jeton.is_active(&bob.access_token()).await);
}

/// A new key for refresh tokens is used by every replica a minute later and not before, so that each
/// has read it by then; what was issued under the old one stays good.
#[tokio::test]
async fn the_refresh_key_is_rotated_without_a_gap() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let [here, there] = [jeton.service.public, replica.public];
    let waiting = jeton.login_through("other", "").await.refresh_token();
    let old = RefreshToken::of(&waiting).key;
    let mut web = jeton.login_through("web", "").await.refresh_token();
    let mut spa = jeton.login_through("spa", "").await.refresh_token();
    let used_at = rotate_refresh_key(&jeton).await;
    jeton.clock.advance(used_at - 1 - jeton.clock.now().0);
    for address in [here, there] {
        web = jeton.refreshing("web", &web, "").at(address).send().await.refresh_token();
        assert_eq!(RefreshToken::of(&web).key, old, "not yet");
    }
    let used = web.clone();
    web = jeton.refresh("web", &web, "").await.refresh_token();

    // The minute was over at once here, so each replica has a session to itself until it has looked.
    jeton.clock.advance(1);
    web = refresh_until_another_key(&jeton, "web", &web, here).await;
    spa = refresh_until_another_key(&jeton, "spa", &spa, there).await;
    let new = RefreshToken::of(&web).key;
    assert_eq!(RefreshToken::of(&spa).key, new, "the same key");
    web = jeton.refreshing("web", &web, "").at(there).send().await.refresh_token();
    jeton.refreshing("spa", &spa, "").at(here).send().await.refresh_token();

    // The old key verifies on: that its tokens are good, and that they were used before.
    jeton.clock.advance(13 * 86_400);
    let reply = jeton.refreshing("other", &waiting, "").at(there).send().await;
    assert_eq!(RefreshToken::of(&reply.refresh_token()).key, new);
    jeton.refresh("web", &used, "").await.assert_error(400, "invalid_grant");
    jeton.refresh("web", &web, "").await.assert_error(400, "invalid_grant");
}

/// A retry is answered with the same value, whichever key the services sign with by then.
#[tokio::test]
async fn a_retry_across_a_rotation_of_the_key_is_answered_with_the_same_token() {
    let jeton = Jeton::start_with(ENGINE, &["--refresh-retry-window", "10m"]).await;
    let other = jeton.login_through("other", "").await.refresh_token();
    let used_at = rotate_refresh_key(&jeton).await;
    jeton.clock.advance(used_at - 1 - jeton.clock.now().0);
    let login = jeton.login_through("web", "").await.refresh_token();
    let successor = jeton.refresh("web", &login, "").await.refresh_token();
    jeton.clock.advance(1);
    refresh_until_another_key(&jeton, "other", &other, jeton.service.public).await;
    assert_eq!(jeton.refresh("web", &login, "").await.refresh_token(), successor);
}

/// What has expired is deleted on demand, and counted; what lives is not touched.
#[tokio::test]
async fn what_expired_is_purged() {
    let jeton = jeton().await;
    assert!(text_of(&jeton, "db purge").await.contains('0'));
    let mut logins = Vec::new();
    for client in ["web", "web", "other", "norefresh"] {
        logins.push(jeton.login_through(client, "").await);
    }
    let before = jeton.sessions().await;
    assert!(text_of(&jeton, "db purge").await.contains('0'));
    assert_eq!(jeton.sessions().await, before);
    for login in &logins[..2] {
        let expire = format!(
            "UPDATE sessions SET expires_at = 3599, deletable_at = 3600 WHERE session_id = '{}'",
            sid(login)
        );
        jeton.database.query(&expire).await;
    }
    assert!(text_of(&jeton, "db purge").await.contains('2'));
    assert_eq!(jeton.sessions().await.len(), 2);
    assert!(text_of(&jeton, "db purge").await.contains('0'));
    for login in &logins[2..] {
        assert!(jeton.is_active(&login.access_token()).await);
    }
}

/// The service deletes what has expired by itself, when it starts and then every minute, and nothing
/// that lives.
#[tokio::test]
async fn what_expired_is_deleted_in_the_background() {
    let jeton = jeton().await;
    for client in ["web", "norefresh", "spa"] {
        jeton.login_through(client, "").await;
    }
    jeton.clock.advance(15 * 86_400 + 3_600);
    jeton.service.reload().await;
    let live = jeton.login_through("web", "").await;
    let _replica = jeton.replica().await;
    let mut left = jeton.sessions().await.len();
    for _ in 0..200 {
        if left == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        left = jeton.sessions().await.len();
    }
    assert_eq!(left, 1);
    jeton.refresh("web", &live.refresh_token(), "").await.refresh_token();
}

/// A session can be deleted from the full hour after it expired, never before it did.
#[tokio::test]
async fn a_session_is_kept_until_it_expired() {
    let jeton = jeton().await;
    for client in ["web", "norefresh"] {
        jeton.login_through(client, "").await;
    }
    let rows = jeton.database.query("SELECT expires_at, deletable_at, ends_at FROM sessions").await;
    assert_eq!(rows.len(), 2);
    for row in rows {
        let number = |index: usize| row[index].as_deref().and_then(|text| text.parse::<i64>().ok());
        let [expires, deletable, ends] = [0, 1, 2].map(|index| number(index).expect("a number"));
        assert!(expires <= ends, "{row:?}");
        assert!(expires < deletable && deletable <= expires + 3_600, "{row:?}");
        assert_eq!(deletable % 3_600, 0, "{row:?}");
    }
}

/// RFC 9700 §4.14.2: all sessions through a client end, or those of everybody, when somebody has said so.
#[tokio::test]
async fn the_sessions_of_a_client_or_of_everybody_end_after_a_question() {
    let jeton = jeton().await;
    let (web, spa) = (jeton.login_through("web", "").await, jeton.login_through("spa", "").await);
    let (web, spa) = (web.access_token(), spa.access_token());
    let database = ["--database", &jeton.database.url];
    let revoke = ["session", "revoke", "--client", "web"];
    for (arguments, code) in [
        (&revoke[..], 2),
        (&["session", "revoke"], 2),
        (&["session", "revoke", "--all", "--client", "web"], 2),
        (&["session", "revoke", "some-session", "--all"], 2),
        (&["session", "revoke", "--client", "ghost", "--yes"], 3),
    ] {
        let output = run(&[arguments, &database].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    let no = type_in_terminal(&jeton.database, &revoke, &[], "n\n");
    assert!(no.lines.concat().contains("1 session of the client web will end"), "{no:#?}");
    assert_eq!(no.code, Some(1), "{no:#?}");
    assert!(jeton.is_active(&web).await && jeton.is_active(&spa).await);

    let yes = type_in_terminal(&jeton.database, &revoke, &[], "y\n");
    assert_eq!(yes.code, Some(0), "{yes:#?}");
    assert!(yes.lines.concat().contains("Ended 1 session of the client web."), "{yes:#?}");
    assert!(!jeton.is_active(&web).await && jeton.is_active(&spa).await);
    jeton.command("session revoke --all --yes").await;
    assert!(!jeton.is_active(&spa).await);
    assert_eq!(jeton.sessions().await.len(), 0);
}
