//! Guessing at client secrets, and fishing for tokens.

use tokio::task::JoinSet;

use super::*;
use crate::harness::Executable;

/// The address of someone who guesses.
const ELSEWHERE: &str = "198.51.100.7";

async fn jeton_behind_proxy() -> Jeton {
    Jeton::start_with(ENGINE, &["--trusted-proxy", "127.0.0.0/8"]).await
}

/// RFC 6749 §2.3.1, RFC 6819 §4.3.5: wrong client secrets are counted by the address that they come from,
/// at the three endpoints together and for clients that there are and are not; ten are free. The right
/// secret is never refused. [TC-25] [TE-16]
#[tokio::test]
async fn guessing_at_client_secrets_is_slowed() {
    let jeton = jeton_behind_proxy().await;
    let guess = async |target: &str, client: &str, secret: &str| {
        let request = jeton.post(target, "token=x&grant_type=password&username=a&password=b");
        request.basic(client, secret).header("X-Forwarded-For", ELSEWHERE).send().await
    };
    let targets = ["/token", "/introspect", "/revoke"];
    for number in 0..10 {
        let client = ["web", "rs1", "nobody", "spa"][number % 4];
        let reply = guess(targets[number % 3], client, &format!("guess{number}")).await;
        reply.assert_error(401, "invalid_client");
    }
    for target in targets {
        for client in ["web", "nobody", "spa", "\u{fc}"] {
            let reply = guess(target, client, "guess").await;
            reply.assert_error(429, "temporarily_unavailable");
            assert_eq!(reply.header("retry-after"), "1", "{target} {client}");
        }
    }
    // The client itself is served, even from there.
    assert_eq!(guess("/introspect", "rs1", jeton.fixtures.secret("rs1")).await.status, 200);
    // Who guesses from there has waited, and waits twice as long.
    jeton.clock.advance(1);
    guess("/token", "web", "guess").await.assert_error(401, "invalid_client");
    let reply = guess("/introspect", "web", "guess").await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "2"));
    // Elsewhere nobody has.
    let request = jeton.post("/introspect", "token=x").basic("web", "guess");
    request.send().await.assert_error(401, "invalid_client");
}

/// RFC 6749 §4.3.2: a client that is not who it says learns nothing of users and counts against none:
/// no failure of a user is counted, and a refresh token is not consumed. [TC-32]
#[tokio::test]
async fn wrong_client_secrets_count_against_no_user() {
    let jeton = jeton().await;
    for password in [PASSWORD, "tuesday fern lamb"] {
        for _ in 0..5 {
            let request = jeton.post("/token", &login_form("alice", password));
            request.basic("web", "wrong").send().await.assert_error(401, "invalid_client");
        }
    }
    let counters = jeton.database.query("SELECT failures FROM login_throttle").await;
    assert_eq!(counters, [[Some("10".to_owned())]], "only the address was counted");
    jeton.token(&login_form("alice", PASSWORD)).await.access_token();
}

/// RFC 7009 §5: an address from which many tokens come that this service never made waits, and the
/// database is not asked for them; what is genuine is revoked all the same. [R-19] [TE-16]
#[tokio::test]
async fn bogus_revocations_are_slowed() {
    let jeton = jeton().await;
    let token = jeton.login_through("spa", "").await.refresh_token();
    let revoke = async |token: &str, hint: &str| {
        let form = format!("token={token}&token_type_hint={hint}");
        jeton.post_as("spa", "/revoke", &form).send().await
    };
    for number in 0..30 {
        let reply = revoke(&format!("bogus{number}"), "access_token").await;
        assert_eq!((reply.status, reply.text()), (200, "{}"));
    }
    for hint in ["access_token", "refresh_token"] {
        // The client, and the counter: no look for the token. Once a second the service looks at the database too.
        let mut fewest = u64::MAX;
        for _ in 0..3 {
            let statements = jeton.metric("jeton_database_statements_total").await;
            let reply = revoke("bogus", hint).await;
            reply.assert_error(429, "temporarily_unavailable");
            assert_eq!(reply.header("retry-after"), "1");
            let now = jeton.metric("jeton_database_statements_total").await;
            fewest = fewest.min(now - statements);
        }
        assert!(fewest <= 3, "{fewest}");
    }
    let reply = revoke(&token, "access_token").await;
    assert_eq!((reply.status, reply.text()), (200, "{}"));
    assert_eq!(jeton.sessions().await.len(), 0);
}

/// ARCHITECTURE.md, «Attempts that are under way count»: those that come at once are no more than those that follow each
/// other; of a burst as many are answered as are free, and the others wait. [TC-25]
#[tokio::test]
async fn a_burst_does_not_outrun_what_is_free_for_an_address() {
    let jeton = jeton().await;
    for (target, client, secret, free, answer) in
        [("/introspect", "rs1", Some("guess"), 10, 401), ("/revoke", "spa", None, 30, 200)]
    {
        let mut burst = JoinSet::new();
        for number in 0..50 {
            let request = match secret {
                Some(secret) => jeton.post(target, "token=x").basic(client, secret),
                None => jeton.post_as(client, target, &format!("token=bogus{number}")),
            };
            burst.spawn(async move { request.send().await.status });
        }
        let statuses = burst.join_all().await;
        let count = |status| statuses.iter().filter(|own| **own == status).count();
        // On a machine that is busy, the answer may be that there was no time.
        let (answered, undecided) = (count(answer), count(503));
        assert_eq!(answered + count(429) + undecided, 50, "{target}: {statuses:?}");
        let is_right = if undecided == 0 { answered == free } else { answered <= free };
        assert!(is_right, "{target}: {statuses:?}");
    }
}

/// RFC 7662 §4: who fishes for tokens through a resource server is noticed and told to the operator; the
/// resource server is not refused, since anyone could have it refused then. [I-35]
#[tokio::test]
async fn fishing_for_tokens_raises_an_alarm() {
    let (database, fixtures) = crate::harness::Database::filled(ENGINE).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let post = |target: &str, form: &str| {
        crate::harness::Request::new(service.public, "POST", target).form(form)
    };
    let as_web = |target: &str, form: &str| post(target, form).basic("web", fixtures.secret("web"));
    let token = as_web("/token", &login_form("alice", PASSWORD)).send().await.access_token();
    let introspect = async |token: &str| {
        let request = post("/introspect", &format!("token={token}"));
        request.basic("rs1", fixtures.secret("rs1")).send().await.json()
    };
    for number in 0..120 {
        let inactive = serde_json::json!({ "active": false });
        assert_eq!(introspect(&format!("{token}{number}")).await, inactive);
        let reply = as_web("/revoke", &format!("token=bogus{number}")).send().await;
        assert_eq!((reply.status, reply.text()), (200, "{}"));
    }
    assert_eq!(introspect(&token).await["active"], true);
    let log = service.stop_and_read_log();
    for client in ["rs1", "web"] {
        let is_alarm = |line: &&str| {
            line.contains("\"event\":\"unknown_tokens\"")
                && line.contains(&format!("\"client_id\":\"{client}\""))
        };
        assert_eq!(log.lines().filter(is_alarm).count(), 1, "{client}: {log}");
    }
}
