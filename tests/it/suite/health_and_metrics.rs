//! The management listener: metrics and what is not there; and what the log never has.

use super::*;
use crate::harness::{Executable, Request};

/// The value of a metric with these labels.
fn value(page: &str, metric: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric} in {page}")).parse().expect("a number")
}

/// What operators watch is counted, and no label names a user, a client or a token. ASVS 13.4.5.
/// [S-28]
#[tokio::test]
async fn what_happens_is_counted_and_names_nobody() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    jeton.token(&login_form("alice", "wrong")).await.assert_error(400, "invalid_grant");
    jeton.token(&login_form("nobody-of-that-name", "wrong")).await;
    jeton.post("/token", "grant_type=password").basic("web", "wrong").send().await;
    jeton.is_active(&token).await;
    jeton.request("GET", "/.well-known/jwks.json").send().await;
    jeton.request("GET", "/nothing/alice").send().await;
    jeton.clock.advance(60);
    let reply = jeton.manage("/metrics").send().await;
    assert!(reply.header("content-type").starts_with("application/openmetrics-text;"));
    let page = reply.text();
    assert!(page.ends_with("# EOF\n"));
    for (metric, expected) in [
        (r#"jeton_http_requests_total{route="token",status="200"}"#, 1.0),
        (r#"jeton_http_requests_total{route="token",status="400"}"#, 2.0),
        (r#"jeton_http_requests_total{route="token",status="401"}"#, 1.0),
        (r#"jeton_http_requests_total{route="jwks",status="200"}"#, 1.0),
        (r#"jeton_http_requests_total{route="none",status="404"}"#, 1.0),
        (r#"jeton_token_requests_total{grant="password",outcome="issued"}"#, 1.0),
        (r#"jeton_token_requests_total{grant="password",outcome="wrong_password"}"#, 1.0),
        (r#"jeton_token_requests_total{grant="password",outcome="unknown_user"}"#, 1.0),
        (r#"jeton_token_requests_total{grant="none",outcome="wrong_client_secret"}"#, 1.0),
        (r#"jeton_introspections_total{outcome="active"}"#, 1.0),
        (r#"jeton_hashing_verified_total{function="scrypt"}"#, 3.0),
        ("jeton_hashing_refused_total", 0.0),
        ("jeton_hashing_abandoned_total", 0.0),
        ("jeton_hashing_queue_depth", 0.0),
        ("jeton_hashing_wait_seconds_count", 3.0),
        ("jeton_hashing_duration_seconds_count", 3.0),
        (r#"jeton_signing_keys{state="signing"}"#, 1.0),
    ] {
        assert!((value(page, metric) - expected).abs() < 0.5, "{metric} in {page}");
    }
    // A login is five, an introspection two.
    assert!(value(page, "jeton_database_statements_total") >= 7.0);
    assert!(value(page, "jeton_database_pool_capacity") >= 1.0);
    // The note of a secret's last use may be under way.
    assert!(value(page, "jeton_database_pool_in_use") <= 1.0);
    assert!(value(page, "jeton_database_pool_waiting") <= 1.0);
    assert!(value(page, "jeton_signing_key_age_seconds") >= 60.0);
    for secret in ["alice", "nobody", "web", "rs1", "/nothing", &token] {
        assert!(!page.contains(secret), "{secret} in {page}");
    }
}

/// Each listener has its own paths: the protocol is on one, health and metrics on the other.
/// ASVS 13.4.5. [S-27] [S-28]
#[tokio::test]
async fn the_listeners_share_nothing() {
    let jeton = jeton().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        jeton.request("GET", path).send().await.assert_error(404, "invalid_request");
        for wrong in [format!("{path}/"), path.to_uppercase()] {
            jeton.manage(&wrong).send().await.assert_error(404, "invalid_request");
        }
    }
    for path in ["/token", "/introspect", "/.well-known/jwks.json"] {
        jeton.manage(path).send().await.assert_error(404, "invalid_request");
    }
}

/// RFC 6750 §5.3; RFC 9110 §17.9; RFC 9700 §4.13: secrets in an address are neither taken nor
/// logged, secrets elsewhere are not logged, and the logged address is the peer's, unless a trusted
/// proxy says another. [H-06] [H-32]
#[tokio::test]
async fn the_log_has_no_secrets_and_no_forged_addresses() {
    let jeton = jeton().await;
    let url = &jeton.database.url;
    let master_key = jeton.fixtures.master_key.display().to_string();
    let usual = ["--database", url, "--master-key-file", &master_key, "--log", "trace"];
    let form = login_form("alice", PASSWORD);
    let secret = jeton.fixtures.secret("web").to_owned();
    for (trusted, source) in [(None, "127.0.0.1"), (Some("127.0.0.0/8"), "198.51.100.7")] {
        let mut arguments = usual.to_vec();
        arguments.extend(trusted.iter().flat_map(|network| ["--trusted-proxy", *network]));
        let mut service = Executable::serve(&arguments);
        let post = |target: &str| Request::new(service.public, "POST", target);
        let login = post("/token").form(&form).basic("web", &secret);
        let login = login.header("X-Forwarded-For", "203.0.113.9, 198.51.100.7").send().await;
        let token = login.access_token();
        let credentials = format!("client_id=web&client_secret={secret}");
        let refused = post(&format!("/token?{credentials}")).form(&form).send().await;
        refused.assert_error(401, "invalid_client");
        let refused = post(&format!("/token?{form}")).form("").basic("web", &secret).send().await;
        refused.assert_error(400, "invalid_request");
        let introspection = format!("token={token}&{credentials}");
        post(&format!("/introspect?{introspection}")).form(&introspection).send().await;

        let log = service.stop_and_read_log();
        let audited = log.lines().find(|line| line.contains("token_issued")).expect("an event");
        assert!(audited.contains(&format!("\"{source}\"")), "{audited}");
        let signature = token.rsplit('.').next().expect("a signature");
        for (name, text) in [
            ("the password", PASSWORD),
            ("the encoded password", &percent_encode(PASSWORD)),
            ("the client's secret", &secret),
            ("the token", signature),
        ] {
            assert!(!log.contains(text), "{name} in {log}");
        }
    }
}
