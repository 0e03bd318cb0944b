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
    let page = reply.text();
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
        (r#"jeton_http_request_duration_seconds_count{route="token"}"#, 4.0),
        (r#"jeton_http_request_duration_seconds_count{route="jwks"}"#, 1.0),
        (r#"jeton_http_request_duration_seconds_count{route="revocation"}"#, 0.0),
        (r#"jeton_http_requests_total{route="token",status="500"}"#, 0.0),
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

/// RFC 9110 §12.5.1: a scraper gets the format that it prefers, and whoever does not say gets the text format of
/// Prometheus. Both have the same samples; in OpenMetrics each family that is measured in a unit says so. [S-28]
#[tokio::test]
async fn both_formats_tell_the_same() {
    let jeton = jeton().await;
    jeton.access_token().await;
    let metrics = async |accept: &str| {
        let request = jeton.manage("/metrics").header("Accept", accept);
        let reply = request.send().await;
        assert_eq!((reply.status, reply.header("vary")), (200, "accept"));
        reply
    };
    let text = jeton.manage("/metrics").send().await;
    assert_eq!(text.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let open = metrics("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), media_type);
    for accept in ["*/*", "text/plain", "application/openmetrics-text;q=0.1, text/plain"] {
        assert_eq!(metrics(accept).await.header("content-type"), text.header("content-type"));
    }
    assert!(open.text().ends_with("# EOF\n") && !text.text().contains("# EOF"));
    // The first word of a sample; the values may change in between.
    let samples = |page: &str| -> std::collections::BTreeSet<String> {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let names = lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned());
        names.filter(|name| !name.contains("need=\"database\"")).collect()
    };
    assert_eq!(samples(text.text()), samples(open.text()));
    for (of_text, of_open) in [
        ("# TYPE jeton_http_requests_total counter", "# TYPE jeton_http_requests counter"),
        ("# TYPE jeton_build_info gauge", "# TYPE jeton_build info"),
        ("# TYPE process_cpu_seconds_total counter", "# UNIT process_cpu_seconds seconds"),
        (
            "# TYPE process_resident_memory_bytes gauge",
            "# UNIT process_resident_memory_bytes bytes",
        ),
        ("# TYPE jeton_clock_offset_seconds gauge", "# UNIT jeton_clock_offset_seconds seconds"),
    ] {
        let has = |page: &str, line: &str| page.lines().any(|own| own == line);
        assert!(has(text.text(), of_text), "{of_text} in {}", text.text());
        assert!(has(open.text(), of_open), "{of_open} in {}", open.text());
    }
}

/// The metrics tell what a login needs: all of it is there, until the database is gone, and again when it is back.
#[tokio::test]
async fn the_metrics_tell_whether_a_login_could_succeed() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let until = async |ready: bool| loop {
        let page = jeton.manage("/metrics").send().await;
        for need in ["clock", "signing_key", "refresh_key", "throttle_key", "parts", "running"] {
            let line = format!("jeton_ready{{need=\"{need}\"}} 1\n");
            assert!(page.text().contains(&line), "{line} in {}", page.text());
        }
        let database = format!("jeton_ready{{need=\"database\"}} {}\n", u8::from(ready));
        if page.text().contains(&database) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    until(true).await;
    outage.begin();
    until(false).await;
    outage.end();
    until(true).await;
}

/// What the system tells of the process, under the usual names.
#[tokio::test]
async fn the_metrics_tell_what_the_process_takes() {
    let (database, fixtures) = crate::harness::Database::filled(ENGINE).await;
    let process = Executable::serve_on(&database, fixtures, &[]);
    let page = Request::new(process.management, "GET", "/metrics").send().await;
    let page = page.text();
    assert!(value(page, "process_cpu_seconds_total") > 0.0);
    let resident = value(page, "process_resident_memory_bytes");
    assert!(resident > 1e6 && resident < value(page, "process_virtual_memory_bytes"), "{page}");
    let open = value(page, "process_open_fds");
    assert!(open > 5.0 && open < value(page, "process_max_fds"), "{page}");
    assert!(value(page, "process_threads") > 1.0);
    let now = jeton_runtime::clock::Clock::System.now().0;
    let now = f64::from(u32::try_from(now).expect("a time of this century"));
    let started = value(page, "process_start_time_seconds");
    assert!((now - 120.0..now + 5.0).contains(&started), "{started} at {now}");
    let version = format!("jeton_build_info{{version=\"{}\",os=\"", env!("CARGO_PKG_VERSION"));
    assert!(page.contains(&version), "{page}");
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
