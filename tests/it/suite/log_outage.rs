//! A log that nobody reads any more.

use super::*;
use crate::harness::executable::{Unread, run_with_environment};
use crate::harness::{Database, Executable, Fixtures, Request};

/// More refused requests than pipe and queue have room for.
const REFUSALS_MAX: u32 = 50_000;
/// So many there are at least.
const REFUSALS_MIN: u32 = 2_000;

/// `jeton serve` whose log is read until it serves.
async fn unread() -> (Executable, Unread, Database, &'static Fixtures) {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let (process, log) = Executable::serve_unread(&database, fixtures);
    (process, log, database, fixtures)
}

/// A request that is refused.
fn refused(process: &Executable) -> Request {
    Request::new(process.public, "POST", "/token").form("grant_type=password")
}

/// Sends requests that are refused, each of which is an audit event, until the log has lost some.
async fn refuse_until_lines_are_lost(process: &Executable) {
    for sent in 1..=REFUSALS_MAX {
        refused(process).send().await.assert_error(401, "invalid_client");
        if sent >= REFUSALS_MIN && sent % 100 == 0 && lost(process).await > 0 {
            return;
        }
    }
    panic!("no line was lost in {REFUSALS_MAX}");
}

async fn lost(process: &Executable) -> u64 {
    process.metric(r#"jeton_log_lines_dropped_total{kind="audit"}"#).await
}

/// Asserts that login, keys and liveness work.
async fn assert_serves(process: &Executable, fixtures: &Fixtures) {
    let login = login_form("alice", PASSWORD);
    let login = Request::new(process.public, "POST", "/token").form(&login);
    let login = login.basic("web", fixtures.secret("web")).send().await;
    assert_eq!(login.status, 200, "{login:?}");
    let keys = Request::new(process.public, "GET", "/.well-known/jwks.json").send().await;
    assert_eq!(keys.status, 200);
    let alive = Request::new(process.management, "GET", "/livez").send().await;
    assert_eq!(alive.status, 200);
}

/// A pipe that is full and not read any more stops nothing. Who reads again finds, where lines are missing,
/// how many: as many as the metric says.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let (mut process, log, _database, fixtures) = unread().await;
    refuse_until_lines_are_lost(&process).await;
    assert_serves(&process, fixtures).await;
    let lost = lost(&process).await;
    process.read(log);
    while !process.log().contains("lines of the log are missing here") {
        tokio::task::yield_now().await;
    }
    let log = process.stop_and_read_log();
    let mut told = 0;
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("whole lines");
        if let Some(audit) = line["audit"].as_u64() {
            assert_eq!(line["level"], "WARN");
            told += audit;
        }
    }
    assert_eq!(told, lost);
    assert!(log.lines().last().is_some_and(|line| line.contains("stopped")), "it flows again");
}

/// SIGTERM is obeyed while the log is not read, and while its pipe is closed.
#[tokio::test]
async fn a_service_whose_log_is_not_read_stops_when_it_is_told_to() {
    let (mut process, _log, _database, _) = unread().await;
    // A pipe has room for less.
    for _ in 0..500 {
        refused(&process).send().await.assert_error(401, "invalid_client");
    }
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));

    let (mut process, log, _database, fixtures) = unread().await;
    drop(log);
    assert_serves(&process, fixtures).await;
    while lost(&process).await == 0 {
        tokio::task::yield_now().await;
    }
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

/// A filter that would log nothing by mistake stops the start with the name of the setting and what is right.
/// Audit events are logged unless the filter names them.
#[tokio::test]
async fn a_filter_must_name_levels_and_targets() {
    for (filter, right) in [
        ("inof", "off, error, warn, info, debug or trace"),
        ("info,jetno=debug", "jeton, "),
        ("jeton", "jeton=debug"),
    ] {
        for command in ["serve", "check", "demo"] {
            let output = run_with_environment(&[command], &[("JETON_LOG", filter)]);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command} {filter}: {errors}");
            assert!(errors.contains("--log") && errors.contains(right), "{filter}: {errors}");
        }
    }
    for (filter, logged) in
        [("off", true), ("off,jeton=off", true), ("info,jeton::audit=off", false)]
    {
        let (database, fixtures) = Database::filled(ENGINE).await;
        let serving = [filter, ",jeton::cli=info"].concat();
        let mut process = Executable::serve_on(&database, fixtures, &["--log", &serving]);
        assert_serves(&process, fixtures).await;
        let log = process.stop_and_read_log();
        assert_eq!(log.contains("token_issued"), logged, "{filter}: {log}");
    }
}
