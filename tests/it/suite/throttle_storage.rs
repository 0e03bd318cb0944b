//! What is kept of failed logins, and that nothing is tried which cannot be.

use super::*;
use crate::harness::Executable;

const WRONG: &str = "tuesday fern lamb";

/// A name that was typed may be a password: the database and the log hold neither it nor the addresses,
/// and what is of no more use is deleted.
#[tokio::test]
async fn what_was_typed_is_not_kept() {
    let (database, fixtures) = crate::harness::Database::filled(ENGINE).await;
    let arguments = ["--log", "trace", "--trusted-proxy", "127.0.0.0/8"];
    let mut service = Executable::serve_on(&database, fixtures, &arguments);
    let typed = "my secret: wednesday";
    let form = login_form(typed, WRONG) + "&client_id=spa";
    let request = crate::harness::Request::new(service.public, "POST", "/token").form(&form);
    request.send().await.assert_error(400, "invalid_grant");
    let log = service.stop_and_read_log();
    let dump = database.dump().await;
    for text in [typed, "wednesday", "my+secret", "my%20secret"] {
        assert!(!log.contains(text) && !dump.contains(text), "{text}");
    }
    let count = "SELECT COUNT(*) FROM login_throttle";
    assert_eq!(database.query(count).await, [[Some("3".to_owned())]]);
    let purge = |database: &crate::harness::Database| {
        let url = database.url.clone();
        tokio::task::spawn_blocking(move || {
            crate::harness::run(&["db", "purge", "--database", &url]).status.success()
        })
    };
    assert!(purge(&database).await.expect("it ends"));
    assert_eq!(database.query(count).await, [[Some("3".to_owned())]]);
    database.query("UPDATE login_throttle SET deletable_at = deletable_at - 40 * 86400").await;
    assert!(purge(&database).await.expect("it ends"));
    assert_eq!(database.query(count).await, [[Some("0".to_owned())]]);
}

/// A database that cannot be asked is never taken for an account without failures, nor is a failure that
/// could not be counted told to anyone.
#[tokio::test]
async fn nothing_is_tried_that_cannot_be_counted() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    jeton.token(&login_form("alice", PASSWORD)).await.access_token();
    outage.begin();
    let reply = jeton.token(&login_form("alice", WRONG)).await;
    reply.assert_error(503, "temporarily_unavailable");
}
