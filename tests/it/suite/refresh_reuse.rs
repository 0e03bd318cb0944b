//! Rotation of refresh tokens, retries, and what gives a thief away (RFC 9700 §4.14.2).

use std::collections::HashSet;

use super::*;
use crate::harness::{Database, Executable, RefreshToken, Request};

const INACTIVE: &str = r#"{"active":false}"#;
/// The retry window of public clients, unless it is set, in seconds.
const WINDOW: i64 = 120;
/// For so many seconds after a refresh a token two rotations old is a late tab's.
const LATE_TAB_WINDOW: i64 = 10;

/// Logs alice in through a client, refreshes this often, and returns all refresh tokens.
async fn chain(jeton: &Jeton, client: &str, rotations: usize) -> Vec<String> {
    let mut all = vec![jeton.login_through(client, "").await.refresh_token()];
    for rotation in 0..rotations {
        all.push(jeton.refresh(client, &all[rotation], "").await.refresh_token());
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
    // Two rotations old and late, and the one before the current when the window of a public client is over.
    for (client, stolen, later) in
        [("web", 0, LATE_TAB_WINDOW), ("spa", 0, LATE_TAB_WINDOW), ("spa", 1, WINDOW)]
    {
        let login = jeton.login_through(client, "").await;
        let first = jeton.refresh(client, &login.refresh_token(), "").await;
        let second = jeton.refresh(client, &first.refresh_token(), "").await;
        let access_tokens = [&login, &first, &second].map(Reply::access_token);
        for token in &access_tokens {
            assert!(jeton.is_active(token).await);
        }
        jeton.clock.advance(later);
        let stolen = [&login, &first][stolen].refresh_token();
        jeton.refresh(client, &stolen, "").await.assert_error(400, "invalid_grant");
        for reply in [&login, &first, &second] {
            for address in [jeton.service.public, replica.public] {
                let request = jeton.refreshing(client, &reply.refresh_token(), "").at(address);
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

/// Decision X-06, RFC 6819 §5.2.2.3: a client that lost the answer is given the same refresh token again,
/// with a fresh access token, as often as it asks; a retry rotates nothing, and extends neither the
/// session nor the time to retry. [TR-18]
#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    for client in ["web", "spa"] {
        let login = jeton.login_through(client, "&scope=read+write").await.refresh_token();
        let first = jeton.refresh(client, &login, "").await;
        let (successor, rows) = (first.refresh_token(), jeton.sessions().await);
        let mut access_tokens = HashSet::from([first.access_token()]);
        for (passed, address) in
            [(0, jeton.service.public), (60, replica.public), (59, jeton.service.public)]
        {
            jeton.clock.advance(passed);
            for (further, scope) in [("", "read write"), ("&scope=write", "write")] {
                let retry = jeton.refreshing(client, &login, further).at(address).send().await;
                assert_eq!(retry.refresh_token(), successor);
                assert_eq!(retry.member("scope"), scope);
                assert!(access_tokens.insert(retry.access_token()));
                assert_eq!(jeton.sessions().await, rows);
            }
        }
        for token in &access_tokens {
            assert!(jeton.is_active(token).await);
        }
        // The answer that arrived goes on, and its own answer can be lost as well.
        let second = jeton.refresh(client, &successor, "").await.refresh_token();
        assert_ne!(second, successor);
        assert_eq!(jeton.refresh(client, &successor, "").await.refresh_token(), second);
        jeton.refresh(client, &second, "").await.refresh_token();
    }
}

/// RFC 9700 §4.14.2: a confidential client authenticates, so it may ask again for as long as the successor
/// was not used: until the session ends, which a retry does not put off. [TR-18]
#[tokio::test]
async fn a_confidential_client_can_retry_until_the_session_ends() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let tokens = chain(&jeton, "web", 1).await;
    let row = jeton.sessions().await;
    let idle = 14 * 86_400;
    for (passed, address) in
        [(86_400, jeton.service.public), (idle - 86_401, replica.public), (0, replica.public)]
    {
        jeton.clock.advance(passed);
        let retry = jeton.refreshing("web", &tokens[0], "").at(address).send().await;
        assert_eq!(retry.refresh_token(), tokens[1]);
        assert_eq!(jeton.sessions().await, row);
    }
    jeton.clock.advance(1);
    for token in &tokens {
        jeton.refresh("web", token, "").await.assert_error(400, "invalid_grant");
    }
    let expired = r#"jeton_token_requests_total{grant="refresh_token",outcome="expired_session"}"#;
    assert_eq!(jeton.metric(expired).await, 2);

    // Once the successor was used, the one before it is reuse, as for every client.
    let tokens = chain(&jeton, "web", 2).await;
    jeton.clock.advance(LATE_TAB_WINDOW);
    jeton.refresh("web", &tokens[0], "").await.assert_error(400, "invalid_grant");
    jeton.refresh("web", &tokens[2], "").await.assert_error(400, "invalid_grant");
}

/// Requires that a client's exchanged token is answered again to the last second of the window, if there is
/// one, and that it ends the session then.
async fn assert_window(jeton: &Jeton, client: &str, window: Option<i64>) {
    let tokens = chain(jeton, client, 1).await;
    let Some(window) = window else {
        jeton.clock.advance(86_400);
        let retry = jeton.refresh(client, &tokens[0], "").await;
        assert_eq!(retry.refresh_token(), tokens[1], "{client}");
        return;
    };
    if window > 0 {
        jeton.clock.advance(window - 1);
        let retry = jeton.refresh(client, &tokens[0], "").await;
        assert_eq!(retry.refresh_token(), tokens[1], "{client} {window}");
        jeton.clock.advance(1);
    }
    jeton.refresh(client, &tokens[0], "").await.assert_error(400, "invalid_grant");
    jeton.refresh(client, &tokens[1], "").await.assert_error(400, "invalid_grant");
}

/// Decision X-06: the window ends to the second, is counted from the rotation and not from a retry,
/// and is as long as it is set to, for clients of either type; without a window a second use is reuse.
/// [TR-18]
#[tokio::test]
async fn the_retry_window_ends_to_the_second() {
    for (setting, public, confidential) in [
        ("", Some(WINDOW), None),
        ("10m", Some(600), Some(600)),
        ("1s", Some(1), Some(1)),
        ("0s", Some(0), Some(0)),
        ("until-used", None, None),
    ] {
        let arguments = ["--refresh-retry-window", setting];
        let arguments = if setting.is_empty() { &[][..] } else { &arguments };
        let jeton = Jeton::start_with(ENGINE, arguments).await;
        assert_window(&jeton, "spa", public).await;
        assert_window(&jeton, "web", confidential).await;
    }
}

/// What is set for a client wins over what is set for the service, for clients of either type, and can be
/// taken back; what was stored before there was such a setting is read as none.
#[tokio::test]
async fn a_client_can_have_a_retry_window_of_its_own() {
    let jeton = Jeton::start_with(ENGINE, &["--refresh-retry-window", "5m"]).await;
    let old =
        "UPDATE clients SET settings = REPLACE(settings, '\"refresh_retry_window\":null,', '')";
    jeton.database.query(old).await;
    let new = "SELECT client_id FROM clients WHERE settings LIKE '%refresh_retry_window%'";
    assert_eq!(jeton.database.query(new).await.len(), 0);
    for client in ["spa", "web"] {
        assert_window(&jeton, client, Some(300)).await;
        for (own, window) in
            [("10s", Some(10)), ("until-used", None), ("0s", Some(0)), ("default", Some(300))]
        {
            jeton.command(&format!("client set {client} --refresh-retry-window {own}")).await;
            assert_window(&jeton, client, window).await;
        }
    }
}

/// RFC 9700 §4.14.2: the window forgives the loss of one answer. What is wrong with a retry beside the
/// token ends nothing. [TR-12] [TR-16]
#[tokio::test]
async fn only_the_last_token_can_be_retried() {
    let jeton = jeton().await;
    let tokens = chain(&jeton, "web", 1).await;
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
    let third = jeton.refresh("web", &second, "").await.refresh_token();
    jeton.refresh("web", &tokens[0], "").await.assert_error(400, "invalid_grant");
    jeton.refresh("web", &third, "").await.assert_error(400, "invalid_grant");
}

/// A token two rotations old that comes within 10 seconds of the last one is a late tab's: it is refused,
/// and ends nothing. `docs/retry-window.md` has the numbers.
#[tokio::test]
async fn a_late_tab_is_refused_and_logs_nobody_out() {
    let jeton = jeton().await;
    for client in ["web", "spa"] {
        let tokens = chain(&jeton, client, 2).await;
        jeton.clock.advance(LATE_TAB_WINDOW - 1);
        jeton.refresh(client, &tokens[0], "").await.assert_error(400, "invalid_grant");
        assert_eq!(jeton.refresh(client, &tokens[1], "").await.refresh_token(), tokens[2]);
        jeton.clock.advance(1);
        jeton.refresh(client, &tokens[0], "").await.assert_error(400, "invalid_grant");
        jeton.refresh(client, &tokens[2], "").await.assert_error(400, "invalid_grant");
    }
    for verdict in ["withheld", "ended"] {
        let labels = format!(r#"{{behind="2",verdict="{verdict}"}}"#);
        let name = format!("jeton_refresh_tokens_reused_total{labels}");
        assert_eq!(jeton.metric(&name).await, 2, "{verdict}");
    }
    // Without a window there is no forgiveness for a late tab either.
    let jeton = Jeton::start_with(ENGINE, &["--refresh-retry-window", "0s"]).await;
    let tokens = chain(&jeton, "spa", 2).await;
    jeton.refresh("spa", &tokens[0], "").await.assert_error(400, "invalid_grant");
    assert_eq!(jeton.sessions().await.len(), 0);
}

/// A retry, a late tab, a reuse, a session that caught up and one that is unknown are counted apart.
#[tokio::test]
async fn retries_reuses_and_unknown_sessions_are_counted_apart() {
    let jeton = jeton().await;
    let refreshes = async |outcome: &str| {
        let labels = format!(r#"{{grant="refresh_token",outcome="{outcome}"}}"#);
        jeton.metric(&format!("jeton_token_requests_total{labels}")).await
    };
    let tokens = chain(&jeton, "web", 3).await;
    jeton.refresh("web", &tokens[2], "").await.refresh_token();
    assert_eq!((refreshes("issued").await, refreshes("retried").await), (3, 1));
    jeton.database.query("UPDATE sessions SET generation = 1").await;
    let next = jeton.refresh("web", &tokens[3], "").await;
    assert_eq!(jeton.metric("jeton_sessions_caught_up_total").await, 1);
    jeton.refresh("web", &tokens[0], "").await.assert_error(400, "invalid_grant");
    let ended = r#"jeton_refresh_tokens_reused_total{behind="3_or_more",verdict="ended"}"#;
    assert_eq!(jeton.metric(ended).await, 1);

    jeton.refresh("web", &next.refresh_token(), "").await.assert_error(400, "invalid_grant");
    assert_eq!(refreshes("unknown_session").await, 1);
    assert!(!jeton.is_active(&next.access_token()).await);
    assert!(!jeton.is_active("forged").await);
    for (endpoint, count) in [("token", 1), ("introspection", 1)] {
        let name = format!(r#"jeton_unknown_sessions_total{{endpoint="{endpoint}"}}"#);
        assert_eq!(jeton.metric(&name).await, count, "{endpoint}");
    }
}

/// A clock that was set back makes no honest client a thief, and moves no date of its session back.
#[tokio::test]
async fn a_clock_that_was_set_back_ends_nothing() {
    let jeton = jeton().await;
    let dates = "SELECT refreshed_at, expires_at, deletable_at FROM sessions";
    let mut tokens = chain(&jeton, "web", 1).await;
    let before = jeton.database.query(dates).await;
    for _ in 0..3 {
        // All clocks, so that the replica does not find its own off.
        jeton.clock.jump_everywhere(-3_600);
        let (last, retried) = (tokens.len() - 1, tokens.len() - 2);
        let retry = jeton.refresh("web", &tokens[retried], "").await;
        assert_eq!(retry.refresh_token(), tokens[last]);
        let next = jeton.refresh("web", &tokens[last], "").await;
        assert!(jeton.is_active(&next.access_token()).await);
        tokens.push(next.refresh_token());
        assert_eq!(jeton.database.query(dates).await, before);
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
        let tokens = chain(&jeton, "web", 3).await;
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
        jeton.clock.advance(LATE_TAB_WINDOW);
        jeton.refresh("web", &tokens[presented], "").await.assert_error(400, "invalid_grant");
        jeton.refresh("web", &last, "").await.assert_error(400, "invalid_grant");
        assert_eq!(jeton.sessions().await.len(), 0);
    }
    // A session that the backup has never seen cannot be made up for.
    let tokens = chain(&jeton, "web", 1).await;
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
    let fourth = refresh(&third, 200).await;
    // A machine so busy that the process stood still would have the verdict withheld.
    let ended = r#"jeton_refresh_tokens_reused_total{behind="3_or_more",verdict="ended"}"#;
    while service.metric(ended).await == 0 {
        refresh(&first, 400).await;
    }
    refresh(&fourth, 400).await;
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
    for told in [
        r#""reason":"retried","grant":"refresh_token","age_seconds":"#,
        r#""event":"refresh_token_reused""#,
        r#""presented":0,"stored":3,"behind":3"#,
    ] {
        assert!(log.contains(told), "{told} in {log}");
    }
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
