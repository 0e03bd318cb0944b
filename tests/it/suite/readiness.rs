//! Readiness: whether a login could succeed now, and why not.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::harness::{Database, Executable, Request};

/// Asks `/readyz` of a management listener until it answers with this status.
async fn until(status: u16, management: SocketAddr) -> Value {
    for _ in 0..1_200 {
        let reply = Request::new(management, "GET", "/readyz").send().await;
        if reply.status == status {
            return reply.json();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never answered {status}");
}

/// The reasons of an answer, in one line.
fn reasons(answer: &Value) -> String {
    assert_eq!(answer["status"], "not ready");
    let reasons = answer["reasons"].as_array().expect("a list").iter();
    reasons.map(|reason| reason.as_str().expect("a sentence")).collect::<Vec<_>>().join("\n")
}

/// A process is alive whatever the database does; it is ready while a login could succeed. The answer says
/// why it is not. [S-28]
#[tokio::test]
async fn readiness_follows_the_database_and_liveness_does_not() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let ready = json!({
        "status": "ready", "reasons": [], "database": "takes writes", "signing_key": "usable",
        "refresh_key": "usable", "throttle_key": "usable", "data_key": "not used", "keys_unusable": 0,
        "clock": "agrees", "clock_offset_seconds": 0.0, "parts_down": [], "keys_age_seconds": 0,
        "jwks_max_age_seconds": 600
    });
    assert_eq!(until(200, jeton.service.management).await, ready);
    outage.begin();
    let answer = until(503, jeton.service.management).await;
    assert_eq!(answer["database"], "takes no writes");
    assert!(reasons(&answer).contains("no write succeeds: "), "{answer}");
    let live = jeton.manage("/livez").send().await;
    assert_eq!((live.status, live.text()), (200, "alive\n"));
    let login = jeton.login_through("web", "").await;
    login.assert_error(503, "temporarily_unavailable");
    // RFC 9110 §10.2.3.
    let wait: u32 = login.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    outage.end();
    assert_eq!(until(200, jeton.service.management).await, ready);
    jeton.access_token().await;
}

/// The log says once that it is not ready and why, and once that it is again, however often that is asked.
#[tokio::test]
async fn the_log_says_what_readiness_says() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    until(200, service.management).await;
    let refusal = database.refuse_writes().await;
    until(503, service.management).await;
    let says = "not ready: no write succeeds";
    let said = |service: &Executable| service.log().matches(says).count();
    // The log is written by another thread.
    while said(&service) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let once = said(&service);
    for _ in 0..10 {
        until(503, service.management).await;
    }
    assert_eq!(said(&service), once, "{}", service.log());
    refusal.end().await;
    until(200, service.management).await;
    let log = service.stop_and_read_log();
    let (_, after) = log.rsplit_once(says).expect("it was said");
    assert_eq!(after.matches("ready again").count(), 1, "{log}");
}

/// A database that is read but takes no writes, as a standby or a full disk, is no database that a login
/// could be stored in.
#[tokio::test]
async fn a_database_that_is_only_read_is_not_enough() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    until(200, jeton.service.management).await;
    let refusal = jeton.database.refuse_writes().await;
    let answer = until(503, jeton.service.management).await;
    assert!(reasons(&answer).contains("no write succeeds"), "{answer}");
    assert!(jeton.is_active(&token).await, "it is read");
    jeton.login_through("web", "").await.assert_error(503, "temporarily_unavailable");
    refusal.end().await;
    until(200, jeton.service.management).await;
    jeton.access_token().await;
}
