//! How a session ends by time, by what an operator does, and by what a user does. Reuse is in
//! `refresh_reuse.rs`, revocation by the client in `revocation.rs`.

use super::*;
use crate::harness::executable::serve_in_vain;
use crate::harness::forge::claims;
use crate::harness::{Database, Request, run};

const DAY: i64 = 86_400;

/// Asserts that a session is over: its refresh token and its access tokens.
async fn assert_over(jeton: &Jeton, client_id: &str, reply: &Reply, case: &str) {
    let refused = jeton.refresh(client_id, &reply.refresh_token(), "").await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "{case}");
    assert!(!jeton.is_active(&reply.access_token()).await, "{case}");
}

/// RFC 9700 §4.14.2: a refresh token that is not used expires after 14 days, to the second; each use
/// gives another 14. [TR-19]
#[tokio::test]
async fn an_unused_refresh_token_expires() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    let idle = jeton.login_through("spa", "").await;
    jeton.clock.advance(14 * DAY - 1);
    let reply = jeton.refresh("web", &login.refresh_token(), "").await;
    reply.refresh_token();
    jeton.clock.advance(1);
    assert_over(&jeton, "spa", &idle, "unused for 14 days").await;
    // A retry is no use of the new token, so it gives no time.
    jeton.clock.advance(9);
    let retry = jeton.refresh("web", &login.refresh_token(), "").await;
    assert_eq!(retry.refresh_token(), reply.refresh_token());
    jeton.clock.advance(14 * DAY - 10);
    assert_over(&jeton, "web", &reply, "unused for 14 days again").await;
}

/// ASVS 10.4.8, NIST SP 800-63B-4 §2.1.3: however often it is refreshed, a session ends 30 days after
/// the login, and no token of it is good for longer. [TR-20]
#[tokio::test]
async fn a_session_has_an_end_that_no_refresh_moves() {
    let jeton = jeton().await;
    let end = jeton.clock.now().0 + 30 * DAY;
    let mut reply = jeton.login_through("web", "").await;
    for _ in 0..3 {
        jeton.clock.advance(9 * DAY);
        reply = jeton.refresh("web", &reply.refresh_token(), "").await;
        assert_eq!(reply.json()["expires_in"], 600);
    }
    for left in [601, 600, 599, 60, 1] {
        jeton.clock.advance(end - left - jeton.clock.now().0);
        reply = jeton.refresh("web", &reply.refresh_token(), "").await;
        assert_eq!(reply.json()["expires_in"], left.min(600), "{left}");
        let claims = claims(&reply.access_token());
        assert_eq!(claims["exp"], jeton.clock.now().0 + left.min(600), "{left}");
        assert!(jeton.is_active(&reply.access_token()).await, "{left}");
    }
    jeton.clock.advance(1);
    assert_over(&jeton, "web", &reply, "30 days after the login").await;
}

/// The two lifetimes are settings of the service and of each client, whose own come first; whichever
/// ends first ends the session, and no access token outlives it, the first included.
/// [TR-19] [TR-20]
#[tokio::test]
async fn lifetimes_can_be_set_for_the_service_and_for_a_client() {
    let settings = ["--refresh-token-idle", "2h", "--session-lifetime", "3h"];
    let jeton = Jeton::start_with(ENGINE, &settings).await;
    jeton.command("client set other --refresh-token-idle 5m --session-lifetime 7m").await;
    jeton.command("client set spa --session-lifetime 1h").await;
    for (client, idle, lifetime) in
        [("web", 7_200, 10_800), ("other", 300, 420), ("spa", 3_600, 3_600)]
    {
        let unused = jeton.login_through(client, "").await;
        let mut reply = jeton.login_through(client, "").await;
        let begin = jeton.clock.now().0;
        assert_eq!(reply.json()["expires_in"], idle.min(600), "{client}");
        jeton.clock.advance(idle - 1);
        reply = jeton.refresh(client, &reply.refresh_token(), "").await;
        let left = lifetime - (idle - 1);
        assert_eq!(reply.json()["expires_in"], left.min(600).min(idle), "{client}");
        assert!(jeton.is_active(&reply.access_token()).await, "{client}");
        jeton.clock.advance(1);
        assert_over(&jeton, client, &unused, "unused").await;
        let end = begin + lifetime;
        if end > jeton.clock.now().0 {
            jeton.clock.advance(end - 1 - jeton.clock.now().0);
            reply = jeton.refresh(client, &reply.refresh_token(), "").await;
            assert_eq!(reply.json()["expires_in"], 1, "{client}");
            jeton.clock.advance(1);
        }
        assert_over(&jeton, client, &reply, "at its end").await;
    }
}

/// An idle time that is longer than the session is a contradiction, which the service and the command
/// refuse with the names of both settings.
#[tokio::test]
async fn an_idle_time_beyond_the_lifetime_is_refused() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let common = ["--database", &*database.url, "--master-key-file", &master_key];
    for further in [
        &["--refresh-token-idle", "31d"][..],
        &["--session-lifetime", "13d"],
        &["--refresh-token-idle", "61m", "--session-lifetime", "1h"],
    ] {
        let (code, errors) = serve_in_vain(&[&common[..], further].concat());
        assert_eq!(code, Some(2), "{further:?}: {errors}");
        for name in ["--refresh-token-idle", "--session-lifetime"] {
            assert!(errors.contains(name), "{further:?}: {errors}");
        }
    }
    let before = database.dump().await;
    let further = ["--refresh-token-idle", "61m", "--session-lifetime", "1h"];
    for command in [
        &["client", "set", "web"][..],
        &["client", "add", "app", "--grant", "refresh_token", "--scope", "x", "--audience", "y"],
    ] {
        let output = run(&[command, &further, &["--database", &database.url]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        for name in ["--refresh-token-idle", "--session-lifetime"] {
            assert!(errors.contains(name), "{command:?}: {errors}");
        }
    }
    assert_eq!(database.dump().await, before);
}

/// Settings that would mean nothing, or no limit at all, are refused with their name and their bounds.
#[tokio::test]
async fn settings_of_sessions_have_bounds() {
    for (setting, wrong) in [
        ("--refresh-token-idle", "0s"),
        ("--refresh-token-idle", "366d"),
        ("--session-lifetime", "0s"),
        ("--session-lifetime", "366d"),
        ("--session-lifetime", "30"),
        ("--refresh-retry-window", "11m"),
        ("--refresh-retry-window", "-1s"),
        ("--sessions-per-user-and-client", "0"),
        ("--sessions-per-user-and-client", "many"),
    ] {
        let (code, errors) = serve_in_vain(&[&format!("{setting}={wrong}")]);
        assert_eq!(code, Some(2), "{setting} {wrong}: {errors}");
        assert!(errors.contains(setting), "{setting} {wrong}: {errors}");
    }
}

/// RFC 6749 §6, ASVS 7.4.2, RFC 7662 §4: a session does not outlive its user or client, disabled or
/// deleted, nor comes back with them; at every replica, at once. [TR-21] [I-18] [S-14]
#[tokio::test]
async fn a_session_ends_with_its_user_and_its_client_for_good() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let bystander = jeton.login_through("other", "").await;
    for (username, client, end, again) in [
        ("bob", "web", "user disable bob", "user enable bob"),
        ("bob", "web", "client disable web", "client enable web"),
        ("bob", "web", "session revoke --user bob", ""),
        ("bob", "web", "user delete bob --yes", ""),
    ] {
        let login = jeton.post_as(client, "/token", &login_form(username, PASSWORD)).send().await;
        let reply = jeton.refresh(client, &login.refresh_token(), "").await;
        let form = format!("token={}", reply.access_token());
        let there: Request = jeton.post_as("rs1", "/introspect", &form).at(replica.public);
        assert_eq!(there.send().await.json()["active"], true, "{end}");
        jeton.command(end).await;
        assert_eq!(there.send().await.json()["active"], false, "{end}");
        let refused = jeton.refreshing(client, &reply.refresh_token(), "").at(replica.public);
        let refused = refused.send().await;
        let code = if end.starts_with("client") { "invalid_client" } else { "invalid_grant" };
        assert_eq!(refused.error(), code, "{end}");
        if !again.is_empty() {
            jeton.command(again).await;
        }
        assert_over(&jeton, client, &reply, end).await;
        assert_over(&jeton, client, &login, end).await;
    }
    let login = jeton.login_through("web", "").await;
    jeton.command("client delete web --yes").await;
    assert!(!jeton.is_active(&login.access_token()).await);
    let rows = "SELECT 1 FROM sessions WHERE client_id = 'web'";
    assert_eq!(jeton.database.query(rows).await.len(), 0);
    // Another client of the same name is another client.
    let login = jeton.login_through("spa", "").await;
    jeton.command("client delete spa --yes").await;
    let grants = ["--grant", "refresh_token", "--scope", "read", "--default-scope", "read"];
    assert!(jeton.try_add_client("spa", &grants).await);
    assert_over(&jeton, "spa", &login, "of a deleted client").await;
    jeton.refresh("other", &bystander.refresh_token(), "").await.refresh_token();
}

/// RFC 9700 §4.14.2: a new password ends what the old one began, the refresh tokens of every client
/// included, and nothing of anyone else's. [TG-27] [S-14]
#[tokio::test]
async fn another_password_ends_every_session_of_the_user() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let mut ended = Vec::new();
    for client in ["web", "spa", "web"] {
        let login = jeton.login_through(client, "").await;
        ended.push((client, jeton.refresh(client, &login.refresh_token(), "").await));
    }
    let bystander = jeton.token(&login_form("bob", PASSWORD)).await;
    let new = "winter moth kettle";
    assert!(jeton.try_change_password("alice", new).await);
    for (client, reply) in &ended {
        let there = jeton.refreshing(client, &reply.refresh_token(), "").at(replica.public);
        there.send().await.assert_error(400, "invalid_grant");
        assert_over(&jeton, client, reply, client).await;
    }
    jeton.refresh("web", &bystander.refresh_token(), "").await.refresh_token();
    let login = jeton.token(&login_form("alice", new)).await;
    jeton.refresh("web", &login.refresh_token(), "").await.refresh_token();
}

/// RFC 9700 §2.4: a user who must use a second factor cannot go on with a session that has seen none, neither then
/// nor after the second factor is required no more.
#[tokio::test]
async fn a_second_factor_cannot_be_avoided_by_refreshing() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    let bystander = jeton.token(&login_form("bob", PASSWORD)).await;
    assert!(jeton.is_active(&login.access_token()).await);
    let said = jeton.run(&["user", "set", "alice", "--mfa-required"], "").await;
    assert!(said.contains("sessions without one have ended"), "{said}");
    let refused = jeton.refresh("web", &login.refresh_token(), "").await;
    refused.assert_error(400, "invalid_grant");
    let unknown = jeton.refresh("web", "x", "").await;
    assert_eq!(refused.comparable(), unknown.comparable());
    jeton.command("user set alice --mfa-required=false").await;
    assert_over(&jeton, "web", &login, "there is no second factor any more").await;
    assert_eq!(jeton.sessions().await.len(), 1, "of another user");
    jeton.refresh("web", &bystander.refresh_token(), "").await.refresh_token();
    // To require what is required already, or to change something else, ends nothing.
    let login = jeton.login_through("web", "").await;
    for other in ["--mfa-required=false", "--role admin", "--scope read"] {
        jeton.command(&format!("user set alice {other}")).await;
    }
    jeton.refresh("web", &login.refresh_token(), "").await.refresh_token();
}

/// What a user or client may not do any more stays undone when it may again: no session comes back to life.
#[tokio::test]
async fn no_session_comes_back() {
    let jeton = jeton().await;
    for (end, undo) in [
        ("user set alice --mfa-required", "user set alice --mfa-required=false"),
        ("user disable alice", "user enable alice"),
        ("client disable web", "client enable web"),
    ] {
        let login = jeton.login_through("web", "").await;
        jeton.command(end).await;
        assert!(!jeton.is_active(&login.access_token()).await, "{end}");
        jeton.command(undo).await;
        assert_over(&jeton, "web", &login, undo).await;
        assert_eq!(jeton.sessions().await.len(), 0, "{end}");
    }
}

/// RFC 7662 §4: an access token of a client without refresh tokens ends with its session too.
#[tokio::test]
async fn a_session_without_refresh_tokens_can_be_ended() {
    let jeton = jeton().await;
    for end in ["session revoke --user alice", "user disable alice"] {
        let token = jeton.login_through("norefresh", "").await.access_token();
        assert!(jeton.is_active(&token).await);
        jeton.clock.advance(599);
        assert!(jeton.is_active(&token).await);
        jeton.command(end).await;
        assert!(!jeton.is_active(&token).await, "{end}");
    }
}
