//! Rotation of refresh tokens, retries, and what gives a thief away (RFC 9700 §4.14.2).

use std::collections::HashSet;

use super::*;
use crate::harness::{Database, Executable, RefreshToken, Request};

const INACTIVE: &str = r#"{"active":false}"#;
/// The default of `--refresh-retry-window`, in seconds.
const WINDOW: i64 = 30;

/// Logs alice in through `web`, refreshes this often, and returns all refresh tokens.
async fn chain(jeton: &Jeton, rotations: usize) -> Vec<String> {
    let mut all = vec![jeton.login_through("web", "").await.refresh_token()];
    for rotation in 0..rotations {
        all.push(jeton.refresh("web", &all[rotation], "").await.refresh_token());
    }
    all
}

/// RFC 9700 §4.14.2, RFC 6819 §5.2.2.3: a token that was rotated away is dead, and whoever uses it
/// ends the session it was of, its current token and its access tokens included, at every replica.
/// Other sessions of the user live on. [TR-12] [TR-13] [TR-14] [TR-15]
#[tokio::test]
async fn reuse_ends_the_session_and_no_other() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let bystanders = [
        jeton.login_through("web", "").await,
        jeton.login_through("other", "").await,
        jeton.token(&login_form("bob", PASSWORD)).await,
    ];
    for stolen in [0, 1] {
        let login = jeton.login_through("web", "").await;
        let first = jeton.refresh("web", &login.refresh_token(), "").await;
        let second = jeton.refresh("web", &first.refresh_token(), "").await;
        let access_tokens = [&login, &first, &second].map(Reply::access_token);
        for token in &access_tokens {
            assert!(jeton.is_active(token).await);
        }
        // The one before the current is good for a retry, until the window is over.
        jeton.clock.advance(if stolen == 0 { 0 } else { WINDOW });
        let stolen = [&login, &first][stolen].refresh_token();
        jeton.refresh("web", &stolen, "").await.assert_error(400, "invalid_grant");
        for reply in [&login, &first, &second] {
            for address in [jeton.service.public, replica.public] {
                let request = jeton.refreshing("web", &reply.refresh_token(), "").at(address);
                request.send().await.assert_error(400, "invalid_grant");
            }
        }
        for token in &access_tokens {
            let form = format!("token={token}");
            let there = jeton.post_as("rs1", "/introspect", &form).at(replica.public).send().await;
            assert_eq!(there.text(), INACTIVE);
            assert!(!jeton.is_active(token).await);
        }
    }
    for (client, reply) in ["web", "other", "web"].iter().zip(&bystanders) {
        assert!(jeton.is_active(&reply.access_token()).await);
        jeton.refresh(client, &reply.refresh_token(), "").await.refresh_token();
    }
}

/// Decision X-06, RFC 6819 §5.2.2.3: within 30 seconds a client that lost the answer is given the
/// same refresh token again, with a fresh access token, as often as it asks; a retry rotates nothing
/// and does not make the 30 seconds longer. [TR-18]
#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let login = jeton.login_through("web", "&scope=read+write").await.refresh_token();
    let first = jeton.refresh("web", &login, "").await;
    let (successor, row) = (first.refresh_token(), jeton.sessions().await);
    let mut access_tokens = HashSet::from([first.access_token()]);
    for (passed, address) in
        [(0, jeton.service.public), (10, replica.public), (19, jeton.service.public)]
    {
        jeton.clock.advance(passed);
        for (further, scope) in [("", "read write"), ("&scope=write", "write")] {
            let retry = jeton.refreshing("web", &login, further).at(address).send().await;
            assert_eq!(retry.refresh_token(), successor);
            assert_eq!(retry.member("scope"), scope);
            assert!(access_tokens.insert(retry.access_token()));
            assert_eq!(jeton.sessions().await, row);
        }
    }
    for token in &access_tokens {
        assert!(jeton.is_active(token).await);
    }
    // The answer that arrived goes on, and its own answer can be lost as well.
    let second = jeton.refresh("web", &successor, "").await.refresh_token();
    assert_ne!(second, successor);
    assert_eq!(jeton.refresh("web", &successor, "").await.refresh_token(), second);
    jeton.refresh("web", &second, "").await.refresh_token();
}

/// Decision X-06: the window ends to the second, is counted from the rotation and not from a retry,
/// and is as long as it is set to; without a window a second use is reuse. [TR-18]
#[tokio::test]
async fn the_retry_window_ends_to_the_second() {
    for (setting, window) in [("", WINDOW), ("5m", 300), ("1s", 1), ("0s", 0)] {
        let arguments = ["--refresh-retry-window", setting];
        let arguments = if setting.is_empty() { &[][..] } else { &arguments };
        let jeton = Jeton::start_with(ENGINE, arguments).await;
        let tokens = chain(&jeton, 1).await;
        if window > 0 {
            jeton.clock.advance(window - 1);
            let retry = jeton.refresh("web", &tokens[0], "").await;
            assert_eq!(retry.refresh_token(), tokens[1], "{setting}");
            jeton.clock.advance(1);
        }
        jeton.refresh("web", &tokens[0], "").await.assert_error(400, "invalid_grant");
        jeton.refresh("web", &tokens[1], "").await.assert_error(400, "invalid_grant");
        assert_eq!(jeton.sessions().await.len(), 0, "{setting}");
    }
}

/// RFC 9700 §4.14.2: the window forgives the loss of one answer. A token two rotations old is reuse at
/// once, also after a retry that was forgiven; and what is wrong with a retry beside the token ends
/// nothing. [TR-12] [TR-16]
#[tokio::test]
async fn only_the_last_token_can_be_retried() {
    let jeton = jeton().await;
    let tokens = chain(&jeton, 1).await;
    let row = jeton.sessions().await;
    for (further, code) in [
        ("&scope=admin", "invalid_scope"),
        ("&resource=https%3A%2F%2Fapi2.example", "invalid_target"),
        ("&client_id=other", "invalid_request"),
    ] {
        jeton.refresh("web", &tokens[0], further).await.assert_error(400, code);
    }
    jeton.refresh("other", &tokens[0], "").await.assert_error(400, "invalid_grant");
    assert_eq!(jeton.sessions().await, row);
    assert_eq!(jeton.refresh("web", &tokens[0], "").await.refresh_token(), tokens[1]);
    let second = jeton.refresh("web", &tokens[1], "").await.refresh_token();
    jeton.refresh("web", &tokens[0], "").await.assert_error(400, "invalid_grant");
    jeton.refresh("web", &second, "").await.assert_error(400, "invalid_grant");
}

/// A clock that was set back makes no honest client a thief.
#[tokio::test]
async fn a_clock_that_was_set_back_ends_nothing() {
    let jeton = jeton().await;
    let mut tokens = chain(&jeton, 1).await;
    for _ in 0..3 {
        jeton.clock.advance(-3_600);
        let (last, retried) = (tokens.len() - 1, tokens.len() - 2);
        let retry = jeton.refresh("web", &tokens[retried], "").await;
        assert_eq!(retry.refresh_token(), tokens[last]);
        let next = jeton.refresh("web", &tokens[last], "").await;
        assert!(jeton.is_active(&next.access_token()).await);
        tokens.push(next.refresh_token());
    }
    jeton.clock.advance(3 * 3_600);
    jeton.refresh("web", tokens.last().expect("one"), "").await.refresh_token();
}

/// A token that is ahead of the database, and genuine, proves that the database lost what it had
/// answered, in a failover or from a backup: the session catches up, and no one is logged out. What
/// was rotated away before stays so.
#[tokio::test]
async fn a_database_that_lost_rotations_catches_up() {
    let jeton = jeton().await;
    for (generation, presented) in [(0, 3), (2, 3), (0, 1)] {
        let tokens = chain(&jeton, 3).await;
        let back = format!("UPDATE sessions SET generation = {generation}");
        jeton.database.query(&back).await;
        let reply = jeton.refresh("web", &tokens[presented], "").await;
        assert!(jeton.is_active(&reply.access_token()).await);
        let next = reply.refresh_token();
        let expected = i64::try_from(presented).expect("small") + 1;
        assert_eq!(RefreshToken::of(&next).generation, expected);
        assert_eq!(jeton.of_session("generation").await, expected);
        // The answer may be lost again.
        let retry = jeton.refresh("web", &tokens[presented], "").await;
        assert_eq!(retry.refresh_token(), next);
        let last = jeton.refresh("web", &next, "").await.refresh_token();
        jeton.refresh("web", &tokens[presented], "").await.assert_error(400, "invalid_grant");
        jeton.refresh("web", &last, "").await.assert_error(400, "invalid_grant");
        assert_eq!(jeton.sessions().await.len(), 0);
    }
    // A session that the backup has never seen cannot be made up for.
    let tokens = chain(&jeton, 1).await;
    jeton.database.query("DELETE FROM sessions").await;
    jeton.refresh("web", &tokens[1], "").await.assert_error(400, "invalid_grant");
}

/// ASVS 16.2.5, 16.3.1: each thing that matters to security is in the log under its name, with
/// client and user; no refresh token is, nor the part that makes it valid, even at its most
/// talkative.
#[tokio::test]
async fn the_log_tells_of_reuse_and_never_the_token() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let mut service = Executable::serve_on(&database, fixtures, &["--log", "trace"]);
    let post = |target: &str, form: &str| Request::new(service.public, "POST", target).form(form);
    let as_web = |target: &str, form: &str| post(target, form).basic("web", fixtures.secret("web"));
    let mut seen = Vec::new();
    let mut refresh = async |token: &str, status: u16| {
        seen.push(token.to_owned());
        let form = crate::harness::refresh_form(token);
        let reply = as_web("/token", &form).send().await;
        assert_eq!(reply.status, status, "{}", reply.text());
        if status == 200 { reply.refresh_token() } else { String::new() }
    };
    let login =
        async || as_web("/token", &login_form("alice", PASSWORD)).send().await.refresh_token();
    let first = login().await;
    let second = refresh(&first, 200).await;
    assert_eq!(refresh(&first, 200).await, second);
    database.query("UPDATE sessions SET generation = 0").await;
    let third = refresh(&second, 200).await;
    refresh(&first, 400).await;
    refresh(&third, 400).await;
    let revoked = login().await;
    let other_end = if revoked.ends_with('A') { "B" } else { "A" };
    refresh(&format!("{}{other_end}", &revoked[..87]), 400).await;
    let revoked = refresh(&revoked, 200).await;
    seen.push(revoked.clone());
    let form = format!("token={revoked}");
    post("/introspect", &form).basic("rs1", fixtures.secret("rs1")).send().await;
    assert_eq!(as_web("/revoke", &form).send().await.status, 200);
    let log = service.stop_and_read_log();

    let sub = format!("\"user_id\":\"{}\"", fixtures.sub("alice"));
    for event in ["token_issued", "refresh_token_reused", "session_caught_up", "token_revoked"] {
        let name = format!("\"event\":\"{event}\"");
        let mut lines = log.lines().filter(|line| line.contains(&name));
        let told = |line: &str| {
            ["jeton::audit", "\"client_id\":\"web\"", &*sub, "\"session_id\":\""]
                .iter()
                .all(|part| line.contains(part))
        };
        assert!(lines.any(told), "{event} in {log}");
    }
    for token in &seen {
        // The whole, and the characters that are made of nothing but the code.
        for absent in [token.as_str(), &token[46..]] {
            assert!(!log.contains(absent), "{absent}");
        }
    }
}
