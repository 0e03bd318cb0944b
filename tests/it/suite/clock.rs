//! A clock that is off: nothing is decided by it, and nothing is lost.

use jeton::cli::serve::Service;
use jeton_runtime::clock::Clock;
use serde_json::{Value, json};

use super::*;
use crate::harness::{Database, Engine, Request};

/// A day, in seconds.
const DAY: i64 = 86_400;

/// Sees that a replica answers 503 wherever it would have to know the time, and still gives the documents
/// that verifiers need.
async fn decides_nothing(jeton: &Jeton, replica: &Service, refresh: &str, access: &str) {
    let forms = [
        ("web", "/token", login_form("alice", PASSWORD)),
        ("web", "/token", format!("grant_type=refresh_token&refresh_token={refresh}")),
        ("rs1", "/introspect", format!("token={}", percent_encode(access))),
        ("web", "/revoke", format!("token={refresh}")),
    ];
    for (client, path, form) in forms {
        let reply = jeton.post_as(client, path, &form).at(replica.public).send().await;
        reply.assert_error(503, "temporarily_unavailable");
        assert_eq!(reply.header("retry-after"), "5", "{path}");
    }
    for path in ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server"] {
        let reply = Request::new(replica.public, "GET", path).send().await;
        assert_eq!(reply.status, 200, "{path}");
    }
    let (status, answer) = readiness(replica.management).await;
    assert_eq!((status, &answer["clock"]), (503, &json!("off")));
}

/// A replica whose clock jumps by more than half a minute decides nothing, keeps what there is, and goes on
/// when the clock is right again.
#[tokio::test]
async fn a_clock_that_jumps_changes_nothing() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    let (refresh, access) = (login.refresh_token(), login.access_token());
    let (sessions, keys) = (jeton.sessions().await, jeton.database.keys("signing").await);
    for seconds in [31, -31, 40 * DAY, -40 * DAY] {
        jeton.clock.jump(seconds);
        decides_nothing(&jeton, &jeton.service, &refresh, &access).await;
        let ahead = &jeton.manage("/readyz").send().await.json()["clock_offset_seconds"];
        assert_eq!(ahead.to_string().parse::<f64>().map(f64::round), seconds.to_string().parse());
        jeton.service.reload().await;
        decides_nothing(&jeton, &jeton.service, &refresh, &access).await;
        jeton.clock.jump(-seconds);
        assert_eq!(readiness(jeton.service.management).await.0, 200, "{seconds}");
        assert!(jeton.is_active(&access).await, "{seconds}");
    }
    assert_eq!(jeton.sessions().await, sessions);
    assert_eq!(jeton.database.keys("signing").await, keys);
    jeton.refresh("web", &refresh, "").await.refresh_token();
}

/// A distance of half a minute is borne, as the life cycle of keys bears it.
#[tokio::test]
async fn half_a_minute_is_borne() {
    let jeton = jeton().await;
    for seconds in [30, -30] {
        let clock = Clock::settable(jeton.clock.now());
        let replica = jeton.replica_by(&clock, &[]).await;
        clock.jump(seconds);
        let (status, answer) = readiness(replica.management).await;
        assert_eq!((status, &answer["clock"]), (200, &json!("agrees")), "{seconds}");
    }
}

/// A replica that starts with a clock that is weeks ahead deletes nothing and makes no key. Where the
/// database is on another machine it is not even ready.
#[tokio::test]
async fn a_start_weeks_ahead_deletes_nothing() {
    let jeton = jeton().await;
    for client in ["web", "spa", "norefresh"] {
        jeton.login_through(client, "").await;
    }
    let login = jeton.login_through("web", "").await;
    let (sessions, keys) = (jeton.sessions().await, jeton.database.keys("signing").await);
    let clock = Clock::settable(jeton.clock.now());
    clock.jump(40 * DAY);
    let replica = jeton.replica_by(&clock, &[]).await;
    if ENGINE == Engine::Postgres {
        let (refresh, access) = (login.refresh_token(), login.access_token());
        decides_nothing(&jeton, &replica, &refresh, &access).await;
    }
    // It has looked after everything at least once when it has looked again.
    replica.reload().await;
    replica.stop().await;
    assert_eq!(jeton.sessions().await, sessions);
    assert_eq!(jeton.database.keys("signing").await, keys);
    jeton.refresh("web", &login.refresh_token(), "").await.refresh_token();
}

/// A machine that boots without a clock: what is in the database is later than what the clock shows, so
/// the service waits until it is set.
#[tokio::test]
async fn a_start_weeks_behind_waits_for_the_clock() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    let sessions = jeton.sessions().await;
    let clock = Clock::settable(jeton.clock.now());
    clock.jump(-40 * DAY);
    let replica = jeton.replica_by(&clock, &[]).await;
    decides_nothing(&jeton, &replica, &login.refresh_token(), &login.access_token()).await;
    clock.advance(20);
    replica.reload().await;
    decides_nothing(&jeton, &replica, &login.refresh_token(), &login.access_token()).await;
    assert_eq!(jeton.sessions().await, sessions);
    clock.jump(40 * DAY);
    replica.reload().await;
    assert_eq!(readiness(replica.management).await.0, 200);
    jeton
        .refreshing("web", &login.refresh_token(), "")
        .at(replica.public)
        .send()
        .await
        .refresh_token();
}

/// Expired rows are deleted a day after they could be, and by no clock that has jumped meanwhile.
#[tokio::test]
async fn rows_outlive_their_sessions_by_a_day() {
    let jeton = jeton().await;
    jeton.login_through("norefresh", "").await;
    let deletable_at = jeton.of_session("deletable_at").await;
    for (seconds, left) in [(DAY - 1, 1), (DAY, 0)] {
        jeton.clock.advance(deletable_at + seconds - jeton.clock.now().0);
        jeton.service.reload().await;
        jeton.service.clean().await;
        assert_eq!(jeton.sessions().await.len(), left, "{seconds} s after");
    }
}

/// The command line deletes nothing by a clock that shows an earlier date than the one that the service recorded. With
/// PostgreSQL it compares with the server's clock, and the recorded date does not matter.
#[tokio::test]
async fn the_command_line_deletes_nothing_by_a_wrong_clock() {
    let jeton = jeton().await;
    jeton.login_through("norefresh", "").await;
    jeton.database.query("UPDATE sessions SET expires_at = 1, deletable_at = 3600").await;
    jeton.database.query("UPDATE clock SET seen_at = seen_at + 100 * 86400").await;
    let url = jeton.database.url.clone();
    let purge = move || crate::harness::run(&["db", "purge", "--database", &url]);
    let output = tokio::task::spawn_blocking(purge).await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    match ENGINE {
        Engine::Sqlite => {
            assert!(!output.status.success() && said.contains("behind"), "{said}");
            assert_eq!(jeton.sessions().await.len(), 1);
        }
        Engine::Postgres => {
            assert!(output.status.success(), "{said}");
            assert_eq!(jeton.sessions().await.len(), 0);
        }
    }
}

/// Where the service has not run for long, nothing confirms the clock: then only what expired a day before the
/// date that it recorded is deleted.
#[tokio::test]
async fn the_command_line_goes_by_the_recorded_date() {
    let (database, _) = Database::filled(ENGINE).await;
    let seen_at = Clock::System.now().0 - 100 * DAY;
    database.query("DELETE FROM clock").await;
    let clock = format!("INSERT INTO clock (clock_id, seen_at) VALUES (1, {seen_at})");
    database.query(&clock).await;
    for (id, deletable_at) in [("old", seen_at - DAY), ("recent", seen_at - DAY + 1)] {
        let session = format!(
            "INSERT INTO sessions (session_id, user_id, client_id, generation, scope, audiences, \
             auth_time, refreshed_at, expires_at, ends_at, deletable_at) \
             VALUES ('{id}', 'u', 'web', 0, 'read', '[]', 1, 1, 1, 1, {deletable_at})"
        );
        database.query(&session).await;
    }
    let url = database.url.clone();
    let purge = move || crate::harness::run(&["db", "purge", "--database", &url]);
    let output = tokio::task::spawn_blocking(purge).await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("nothing confirms the clock"), "{said}");
    let left = database.query("SELECT session_id FROM sessions").await;
    assert_eq!(left, [[Some("recent".to_owned())]]);
}

/// Whoever restores a database sees how old it is.
#[tokio::test]
async fn the_status_of_the_database_says_when_it_was_last_used() {
    let jeton = jeton().await;
    let seen_at = jeton
        .database
        .query("SELECT seen_at FROM clock WHERE clock_id = 1")
        .await
        .remove(0)
        .remove(0);
    let status = jeton.run(&["db", "status", "--json"], "").await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(Some(status["seen_at"].to_string()), seen_at);
    assert!(
        jeton.run(&["db", "status"], "").await.contains("The last date that a replica recorded")
    );
}
