//! Error responses of the token endpoint (RFC 6749 §5.2).

use super::*;
use crate::harness::client::exchange;
use crate::harness::{Database, Executable, Request};

/// A right login with one more parameter.
fn login_with(further: &str) -> String {
    login_form("alice", PASSWORD) + further
}

/// RFC 6749 §5.2: each kind of error has its code, with 400, or with 401 where the client failed to
/// authenticate; nothing but code and description is said, in the characters of the grammar.
/// [TE-01] [TE-02] [TE-03] [TE-05] [TE-07] [TE-08] [TE-09] [TE-11] [TE-14]
#[tokio::test]
async fn each_error_has_its_code_and_status() {
    let jeton = jeton().await;
    for (client, form, status, code) in [
        ("web", "username=alice&password=x".to_owned(), 400, "invalid_request"),
        ("web", "grant_type=&username=alice&password=x".to_owned(), 400, "invalid_request"),
        ("web", "grant_type=password&username=alice".to_owned(), 400, "invalid_request"),
        ("web", login_with("&username=alice"), 400, "invalid_request"),
        ("web", login_with("&client_id=other"), 400, "invalid_request"),
        ("web", login_with("&client_id=web&client_secret=x"), 400, "invalid_request"),
        ("web", login_with("&scope=%zz"), 400, "invalid_request"),
        ("web", login_with("&scope=nosuch"), 400, "invalid_scope"),
        ("web", login_with("&resource=nosuch"), 400, "invalid_target"),
        ("web", login_form("alice", "tuesday fern lamb"), 400, "invalid_grant"),
        ("nopw", login_with(""), 400, "unauthorized_client"),
        ("nothing", login_with(""), 400, "unauthorized_client"),
        ("web", "grant_type=foo".to_owned(), 400, "unsupported_grant_type"),
        ("post-only", login_with(""), 401, "invalid_client"),
    ] {
        let reply = jeton.post_as(client, "/token", &form).send().await;
        assert_eq!(reply.error(), code, "{client} {form}");
        // Status, media type, the exact members and their characters.
        reply.assert_error(status, code);
    }
    for (user, secret) in [("web", "wrong"), ("nosuch", "wrong"), ("spa", "wrong"), ("web", "")] {
        let request = jeton.post("/token", &login_with("")).basic(user, secret);
        request.send().await.assert_error(401, "invalid_client");
    }
    jeton.post("/token", &login_with("")).send().await.assert_error(401, "invalid_client");
}

/// RFC 6749 §5.2: a grant that the service does not have is `unsupported_grant_type`, whatever the
/// client was registered for, once the client has authenticated. [TE-06]
#[tokio::test]
async fn an_unknown_grant_is_unsupported_for_every_client() {
    let jeton = jeton().await;
    for grant in [
        "client_credentials",
        "authorization_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:device_code",
        "foo",
        "Password",
        "password ",
    ] {
        let form = login_with("").replace("=password&", &format!("={}&", percent_encode(grant)));
        for client in ["web", "nopw", "norefresh", "nothing", "rs1"] {
            let reply = jeton.post_as(client, "/token", &form).send().await;
            assert_eq!(reply.error(), "unsupported_grant_type", "{client} {grant}");
            reply.assert_error(400, "unsupported_grant_type");
        }
        let public = form.clone() + "&client_id=spa";
        jeton.post("/token", &public).send().await.assert_error(400, "unsupported_grant_type");
        let stranger = jeton.post("/token", &form).basic("web", "wrong");
        stranger.send().await.assert_error(401, "invalid_client");
    }
}

/// RFC 6749 §5.2, Appendix A.8: a description keeps to its alphabet and repeats nothing that was
/// sent. [TE-10]
#[tokio::test]
async fn a_description_repeats_no_input() {
    let jeton = jeton().await;
    let marker = "zqxmarker%22%5C%C3%A9";
    for form in [
        format!("grant_type={marker}"),
        login_with("&scope=a%22%5C%C3%A9%0A"),
        login_with(&format!("&scope={marker}")),
        login_with(&format!("&resource={marker}")),
        login_with(&format!("&client_id={marker}")),
        login_with(&format!("&{marker}={marker}&scope={marker}&scope={marker}")),
        login_with(&format!("&password={marker}")),
        format!("grant_type=password&username={marker}&password={marker}"),
        format!("grant_type=password&username={marker}&password=%0A{marker}"),
        format!("grant_type=password&username={marker}&password={marker}%zz"),
    ] {
        let reply = jeton.token(&form).await;
        reply.assert_error(400, &reply.error());
        assert!(!reply.text().contains("zqxmarker"), "{}", reply.text());
    }
    let marker = "zqxmarker";
    for request in [
        jeton.post("/token", &login_with("")).basic(marker, marker),
        jeton.post("/token", &login_with("")).header("Authorization", marker),
        jeton.post("/token", "").without("Content-Type").header("Content-Type", marker),
        jeton.request(marker, "/token"),
        jeton.request("GET", "/zqxmarker?zqxmarker"),
    ] {
        let reply = request.send().await;
        assert!((400..500).contains(&reply.status), "{request:?}");
        assert!(!reply.text().contains(marker), "{request:?}: {}", reply.text());
    }
}

/// RFC 6749 §5.1, §5.2: no error is stored either. [TE-12]
#[tokio::test]
async fn no_error_is_stored() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let wrong_type = jeton.post("/token", "{}").without("Content-Type");
    let mut replies = vec![
        (400, jeton.token("").await),
        (400, wrong_type.header("Content-Type", "application/json").send().await),
        (401, jeton.post("/token", &login_with("")).send().await),
        (403, jeton.post("/token", "").header("Origin", "https://evil.example").send().await),
        (404, jeton.request("GET", "/tokens").send().await),
        (405, jeton.request("GET", "/token").send().await),
        (413, jeton.token(&"x".repeat(17_000)).await),
    ];
    outage.begin();
    replies.push((503, jeton.token(&login_with("")).await));
    outage.end();
    for (status, reply) in replies {
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.header("cache-control"), "no-store", "{status}");
        assert!(!reply.has("etag") && !reply.has("last-modified"), "{status}");
    }
}

/// RFC 6749 §5.2: what goes wrong before or beside the protocol is JSON of the same shape or has no
/// content at all; nothing tells which library found it. [TE-13]
#[tokio::test]
async fn errors_of_the_framework_look_like_all_others() {
    let jeton = jeton().await;
    for (status, request) in [
        (404, jeton.request("GET", "/")),
        (404, jeton.post_as("web", "/token/", &login_with(""))),
        (404, jeton.post_as("web", "//token", &login_with(""))),
        (405, jeton.request("GET", "/token")),
        (405, jeton.request("FOO", "/token")),
        (400, jeton.post_as("web", "/token", "a=%zz")),
        (400, jeton.post_as("web", "/token", "[]").header("Content-Type", "application/json")),
        (413, jeton.post_as("web", "/token", &"x".repeat(17_000))),
        (413, jeton.post_as("web", "/token", &"x".repeat(17_000)).chunked()),
    ] {
        let reply = request.send().await;
        assert_eq!(reply.error(), "invalid_request", "{status}: {}", reply.text());
        reply.assert_error(status, "invalid_request");
        assert!(!reply.has("server"), "{status}");
    }
    // These are found while the head is read, so the library answers, and says nothing.
    let host = jeton.service.public;
    let long = format!("GET /token HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("GET /token HTTP/1.1\r\nHost: {host}\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (status, octets) in [(431, long), (431, many), (400, "zqx\r\n\r\n".to_owned())] {
        let replies = exchange(host, octets.as_bytes(), false).await;
        let [reply] = replies.as_slice() else { panic!("{status}: {replies:?}") };
        assert_eq!((reply.status, reply.content.len()), (status, 0), "{replies:?}");
        assert!(!reply.has("server") && !reply.has("content-type"), "{replies:?}");
    }
}

/// RFC 9110 §15.6.1: a fault of the service, here a row that nobody can read, is a 500 that blames
/// nobody and explains nothing. [TE-13]
#[tokio::test]
async fn a_fault_is_a_neutral_500() {
    let jeton = jeton().await;
    jeton.database.query("UPDATE users SET roles = 'zqxmarker' WHERE username = 'alice'").await;
    let reply = jeton.login_through("claims", "").await;
    reply.assert_error(500, "server_error");
    for word in ["zqxmarker", "roles", "users", "JSON", "src/", "SELECT"] {
        assert!(!reply.text().contains(word), "{word}: {}", reply.text());
    }
    // The next one is not hit by it.
    jeton.login_through("web", "").await.assert_error(500, "server_error");
    let bob = jeton.token(&login_form("bob", PASSWORD)).await;
    assert!(!bob.access_token().is_empty());
}

/// RFC 9110 §15.6.4: while the database is away a login is a 503 that says when to come back, blames
/// nobody and explains nothing; it leaves no session, and the service recovers by itself. [TE-15]
#[tokio::test]
async fn an_outage_is_a_neutral_503() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    jeton.access_token().await;
    outage.begin();
    let reply = jeton.login_through("web", "").await;
    reply.assert_error(503, "temporarily_unavailable");
    let seconds: u32 = reply.header("retry-after").parse().expect("whole seconds");
    assert!((1..=60).contains(&seconds));
    let text = reply.text().to_lowercase();
    for word in ["sql", "postgres", "database", "lock", "connection", "/", "127.0.0.1", "jeton"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert!(!reply.has("server"));
    outage.end();
    let sessions = "SELECT count(*) FROM sessions";
    assert_eq!(jeton.database.query(sessions).await[0][0].as_deref(), Some("1"));
    assert!(!jeton.access_token().await.is_empty());
}

/// Decision X-09: a request with several defects is told the first one in the order form, client,
/// grant known, grant allowed, parameters, scope, credentials. [TE-18]
#[tokio::test]
async fn the_order_of_checks_is_fixed() {
    let jeton = jeton().await;
    let web = jeton.fixtures.secret("web").to_owned();
    let nopw = jeton.fixtures.secret("nopw").to_owned();
    // Each has every later defect as well, as far as they can be in one request.
    let nobody = "&username=nobody&scope=nosuch";
    for (case, client, secret, form, status, code) in [
        ("form", "web", "wrong", format!("grant_type=foo&scope=a{nobody}"), 400, "invalid_request"),
        ("client", "nopw", "wrong", format!("grant_type=foo{nobody}"), 401, "invalid_client"),
        ("client", "nopw", "wrong", format!("grant_type=password{nobody}"), 401, "invalid_client"),
        ("client", "web", "wrong", nobody.to_owned(), 401, "invalid_client"),
        ("grant known", "nopw", &nopw, nobody.to_owned(), 400, "invalid_request"),
        (
            "grant known",
            "nopw",
            &nopw,
            format!("grant_type=foo{nobody}"),
            400,
            "unsupported_grant_type",
        ),
        (
            "grant allowed",
            "nopw",
            &nopw,
            format!("grant_type=password{nobody}"),
            400,
            "unauthorized_client",
        ),
        ("parameters", "web", &web, format!("grant_type=password{nobody}"), 400, "invalid_request"),
        (
            "scope",
            "web",
            &web,
            format!("grant_type=password&password=wrong{nobody}"),
            400,
            "invalid_scope",
        ),
        (
            "credentials",
            "web",
            &web,
            "grant_type=password&password=wrong&username=nobody".to_owned(),
            400,
            "invalid_grant",
        ),
    ] {
        let reply = jeton.post("/token", &form).basic(client, secret).send().await;
        assert_eq!(reply.error(), code, "{case}: {form}");
        reply.assert_error(status, code);
    }
}

/// ASVS 16.3.1, 16.5.1: the log has the exact reason under the request id that the caller was given;
/// the caller is told neither which it was nor anything else that differs. [TE-19]
#[tokio::test]
async fn the_reason_is_in_the_log_only() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let mut seen = Vec::new();
    for (user, password, reason) in [
        ("alice", "tuesday fern lamb", "wrong_password"),
        ("nobody", PASSWORD, "unknown_user"),
        ("alice ", PASSWORD, "blank_in_username"),
        ("disabled", PASSWORD, "disabled_user"),
        ("mfa", PASSWORD, "second_factor_required"),
    ] {
        let form = login_form(user, password) + "&client_id=spa";
        let reply = Request::new(service.public, "POST", "/token").form(&form).send().await;
        reply.assert_error(400, "invalid_grant");
        assert!(!reply.text().contains(reason) && !reply.header("x-request-id").is_empty());
        seen.push((reply, reason));
    }
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));
    let log = service.log_to_its_end();
    for (reply, reason) in &seen {
        assert_eq!(reply.comparable(), seen[0].0.comparable(), "{reason}");
        let id = format!("\"request_id\":\"{}\"", reply.header("x-request-id"));
        let line = log.lines().find(|line| line.contains(&id) && line.contains("jeton::audit"));
        let line = line.unwrap_or_else(|| panic!("no line with {id}"));
        assert!(line.contains(&format!("\"reason\":\"{reason}\"")), "{line}");
    }
}
