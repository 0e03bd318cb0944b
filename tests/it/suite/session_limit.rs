//! How many sessions a user has through one client: the oldest ends when there are too many.

use serde_json::Value;
use tokio::task::JoinSet;

use super::*;
use crate::harness::forge::claims;
use crate::harness::{Database, Executable, Request};

/// Which of these are still good, by introspection.
async fn good(jeton: &Jeton, logins: &[Reply]) -> Vec<usize> {
    let mut good = Vec::new();
    for (number, login) in logins.iter().enumerate() {
        if jeton.is_active(&login.access_token()).await {
            good.push(number);
        }
    }
    good
}

/// ASVS 7.1.2: beyond the limit each login ends the oldest session of that user at that client, and no
/// other; its refresh token is refused like one that never was.
#[tokio::test]
async fn a_login_beyond_the_limit_ends_the_oldest() {
    let jeton = Jeton::start_with(ENGINE, &["--sessions-per-user-and-client", "3"]).await;
    let bystanders = [
        ("other", jeton.login_through("other", "").await),
        ("spa", jeton.login_through("spa", "").await),
        ("web", jeton.token(&login_form("bob", PASSWORD)).await),
    ];
    let mut logins = Vec::new();
    for number in 0..6_usize {
        logins.push(jeton.login_through("web", "").await);
        let first = number.saturating_sub(2);
        assert_eq!(good(&jeton, &logins).await, (first..=number).collect::<Vec<_>>());
        jeton.clock.advance(1);
    }
    for (number, login) in logins.iter().enumerate() {
        let reply = jeton.refresh("web", &login.refresh_token(), "").await;
        if number < 3 {
            reply.assert_error(400, "invalid_grant");
        } else {
            reply.refresh_token();
        }
    }
    for (client, login) in &bystanders {
        assert!(jeton.is_active(&login.access_token()).await, "{client}");
        jeton.refresh(client, &login.refresh_token(), "").await.refresh_token();
    }
}

/// The session that a login has just opened is never the one that ends: not within one second, and not
/// when the clock was set back and the others look younger.
#[tokio::test]
async fn a_new_session_is_never_the_one_that_ends() {
    let jeton = Jeton::start_with(ENGINE, &["--sessions-per-user-and-client", "1"]).await;
    let mut logins = Vec::new();
    for passed in [0, 0, 0, 0, -3_600, 0, -1, 1] {
        jeton.clock.jump_everywhere(passed);
        logins.push(jeton.login_through("web", "").await);
        assert_eq!(good(&jeton, &logins).await, [logins.len() - 1]);
    }
    assert_eq!(jeton.sessions().await.len(), 1);
    let last = logins.last().expect("one").refresh_token();
    jeton.refresh("web", &last, "").await.refresh_token();
}

/// A session that has expired counts as none: it does not end an older one that was kept alive.
#[tokio::test]
async fn an_expired_session_takes_no_place() {
    let setting = ["--sessions-per-user-and-client", "2", "--refresh-token-idle", "1h"];
    let jeton = Jeton::start_with(ENGINE, &setting).await;
    let mut kept = jeton.login_through("web", "").await;
    jeton.clock.advance(1);
    jeton.login_through("web", "").await;
    jeton.clock.advance(3_598);
    kept = jeton.refresh("web", &kept.refresh_token(), "").await;
    jeton.clock.advance(2);
    let new = jeton.login_through("web", "").await;
    for login in [kept, new] {
        assert!(jeton.is_active(&login.access_token()).await);
        jeton.refresh("web", &login.refresh_token(), "").await.refresh_token();
    }
}

/// Fifty sessions are the limit unless it is set.
#[tokio::test]
async fn fifty_is_the_limit_unless_set() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    // Logins take too long for this many: the others are copies of the first, as old as it.
    let columns = "user_id, client_id, generation, scope, audiences, auth_time, refreshed_at, \
                   ends_at, expires_at, deletable_at";
    for number in 10..59 {
        let copy = format!(
            "INSERT INTO sessions (session_id, {columns}) \
             SELECT '{number}AAAAAAAAAAAAAAAAAAAA', {columns} FROM sessions \
             WHERE session_id NOT LIKE '%AAAAAAAAAAAAAAAAAAAA'"
        );
        jeton.database.query(&copy).await;
    }
    assert_eq!(jeton.sessions().await.len(), 50);
    assert!(jeton.is_active(&login.access_token()).await);
    jeton.clock.advance(1);
    for _ in 0..2 {
        jeton.login_through("web", "").await.refresh_token();
        assert_eq!(jeton.sessions().await.len(), 50);
    }
}

/// ASVS 15.4.2: logins at once, at two replicas, all succeed and do not leave more sessions than the
/// limit between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logins_at_once_keep_to_the_limit() {
    let setting = ["--sessions-per-user-and-client", "3"];
    let jeton = Jeton::start_with(ENGINE, &setting).await;
    let replica = jeton.replica_with(&setting).await;
    let mut running = JoinSet::new();
    for number in 0..12 {
        let address = [jeton.service.public, replica.public][number % 2];
        let form = login_form("alice", PASSWORD);
        let request = jeton.post_as("web", "/token", &form).at(address);
        running.spawn(async move { request.send().await });
    }
    let logins = running.join_all().await;
    for login in &logins {
        login.refresh_token();
    }
    assert_eq!(good(&jeton, &logins).await.len(), 3);
    assert_eq!(jeton.sessions().await.len(), 3);
}

/// RFC 6749 §5.1: an access token lives as long as `expires_in` says, also where it cannot be refreshed and the user
/// logs in again and again. Such sessions end by themselves; of them there are ten thousand rows at most.
#[tokio::test]
async fn a_token_that_cannot_be_refreshed_lives_as_long_as_it_says() {
    let jeton = Jeton::start_with(ENGINE, &["--sessions-per-user-and-client", "1"]).await;
    let mut logins = Vec::new();
    for _ in 0..4 {
        logins.push(jeton.login_through("norefresh", "").await);
        jeton.clock.advance(100);
    }
    assert_eq!(good(&jeton, &logins).await, [0, 1, 2, 3]);
    assert_eq!(jeton.metric("jeton_surplus_sessions_ended_total").await, 0);
    jeton.clock.advance(200);
    assert_eq!(good(&jeton, &logins).await, [1, 2, 3], "after 600 seconds");

    // As many more as there may be, all of them expired: the oldest go.
    let columns =
        "user_id, client_id, generation, scope, audiences, refreshed_at, ends_at, deletable_at";
    let copies = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 9999) \
         INSERT INTO sessions (session_id, auth_time, expires_at, {columns}) \
         SELECT 'copy' || n, n, n, {columns} FROM numbers, \
         (SELECT * FROM sessions ORDER BY auth_time LIMIT 1) AS first"
    );
    jeton.database.run_script(&copies).await;
    jeton.login_through("norefresh", "").await.access_token();
    assert_eq!(jeton.sessions().await.len(), 10_000);
    assert_eq!(good(&jeton, &logins).await, [1, 2, 3], "the expired ones went");
    assert_eq!(jeton.metric("jeton_surplus_sessions_ended_total").await, 4);
}

/// ASVS 16.2.1: that a session was ended to make room is in the log, with whose and which it was, and is counted.
#[tokio::test]
async fn ending_the_oldest_is_logged_and_counted() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let limit = ["--sessions-per-user-and-client", "1"];
    let mut service = Executable::serve_on(&database, fixtures, &limit);
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let request = Request::new(service.public, "POST", "/token");
        let request = request.form(&login_form("alice", PASSWORD));
        let reply = request.basic("web", fixtures.secret("web")).send().await;
        sessions.push(claims(&reply.access_token())["sid"].as_str().expect("a sid").to_owned());
    }
    assert_eq!(service.metric("jeton_surplus_sessions_ended_total").await, 1);
    let log = service.stop_and_read_log();
    let events: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("surplus_session_ended"))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let [event] = events.as_slice() else { panic!("one event: {log}") };
    assert_eq!(event["target"], "jeton::audit");
    assert_eq!(
        (&event["session_id"], &event["count"]),
        (&Value::from(&*sessions[0]), &Value::from(1))
    );
    assert_eq!(
        (&event["client_id"], &event["user_id"]),
        (&"web".into(), &fixtures.sub("alice").into())
    );
}
