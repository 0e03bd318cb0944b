//! Cross-origin requests (the Fetch standard's CORS protocol).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::harness::Request;
use crate::harness::forge::claims;

const GOOD: &str = "https://good.example";
/// Looks like the listed origin, and is another.
const FOREIGN: [&str; 9] = [
    "https://evil.example",
    "https://good.example.evil",
    "https://evil.good.example",
    "http://good.example",
    "https://good.example:8443",
    "https://good.example/",
    "https://GOOD.example",
    "null",
    "",
];

async fn jeton_for_browsers() -> Jeton {
    Jeton::start_with(ENGINE, &["--cors-origin", GOOD]).await
}

/// The preflight that a browser sends before it may set these headers.
fn preflight(jeton: &Jeton, path: &str, origin: &str, headers: &str) -> Request {
    jeton
        .request("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", headers)
}

/// The comma-separated values of a header, in lower case.
fn list(reply: &Reply, name: &str) -> Vec<String> {
    reply.header(name).split(',').map(|item| item.trim().to_ascii_lowercase()).collect()
}

fn assert_no_cors(reply: &Reply, case: &str) {
    let cors: Vec<_> =
        reply.headers.iter().filter(|(name, _)| name.starts_with("access-control-")).collect();
    assert!(cors.is_empty(), "{case}: {cors:?}");
}

/// Fetch, "CORS-preflight fetch": a preflight of a listed origin is answered without credentials,
/// names the method and each header that API explorers set, and says for how long that holds. Nothing
/// allows ambient credentials. [C-01] [C-02] [C-03] [C-04] [C-09] [C-11] [C-12] [H-12]
#[tokio::test]
async fn a_preflight_of_a_listed_origin_is_answered() {
    let jeton = jeton_for_browsers().await;
    for asked in [
        "authorization,x-requested-with",
        "x-requested-with",
        "content-type,x-requested-with,authorization",
    ] {
        let reply = preflight(&jeton, "/token", GOOD, asked).send().await;
        assert_eq!((reply.status, reply.content.len()), (204, 0), "{asked}");
        assert!(!reply.has("content-length") && !reply.has("transfer-encoding"), "{asked}");
        assert_eq!(reply.header("access-control-allow-origin"), GOOD);
        let allowed = list(&reply, "access-control-allow-headers");
        for name in asked.split(',') {
            assert!(allowed.iter().any(|own| own == name), "{name} in {allowed:?}");
        }
        assert!(list(&reply, "access-control-allow-methods").contains(&"post".to_owned()));
        let age: u32 = reply.header("access-control-max-age").parse().expect("seconds");
        assert!((60..=86_400).contains(&age), "{age}");
        assert!(!reply.has("access-control-allow-credentials"));
        assert!(reply.header("vary").eq_ignore_ascii_case("origin"));
    }
    let login = jeton.post_as("web", "/token", &login_form("alice", PASSWORD));
    let login = login.header("Origin", GOOD).send().await;
    login.access_token();
    let exposed = list(&login, "access-control-expose-headers");
    for name in ["www-authenticate", "retry-after"] {
        assert!(exposed.iter().any(|own| own == name), "{name} in {exposed:?}");
    }
    assert!(!login.has("access-control-allow-credentials"));
}

/// Fetch, "CORS-preflight fetch": a page of a listed origin may set whatever fields its tracing adds, in bounds; one
/// of another origin is told nothing. Apps with a scheme of their own are origins like others.
#[tokio::test]
async fn a_listed_origin_may_set_further_headers() {
    const APP: &str = "capacitor://localhost";
    let origins = ["--cors-origin", GOOD, "--cors-origin", APP];
    let jeton = Jeton::start_with(ENGINE, &origins).await;
    let many = |number: usize| vec!["x-a"; number].join(",");
    let long = |length: usize| "x".repeat(length);
    for (asked, granted) in [
        ("sentry-trace,traceparent".to_owned(), true),
        ("baggage , authorization".to_owned(), true),
        (many(32), true),
        (many(33), false),
        (long(1_024), true),
        (long(1_025), false),
        ("x-a,b c".to_owned(), false),
        ("x-a,b:c".to_owned(), false),
        ("x-\u{e9}".to_owned(), false),
    ] {
        for origin in [GOOD, APP] {
            let reply = preflight(&jeton, "/token", origin, &asked).send().await;
            assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, origin));
            let allowed = list(&reply, "access-control-allow-headers");
            let all = asked.split(',').all(|name| allowed.iter().any(|own| own == name.trim()));
            assert_eq!(all, granted, "{asked}: {allowed:?}");
            assert!(allowed.contains(&"content-type".to_owned()), "{asked}: {allowed:?}");
        }
        let reply = preflight(&jeton, "/token", "capacitor://other", &asked).send().await;
        assert_no_cors(&reply, &asked);
    }
    let login = jeton.post_as("web", "/token", &login_form("alice", PASSWORD));
    login.header("Origin", APP).send().await.access_token();
}

/// Fetch, "CORS check"; RFC 9110 §10.2.3: a page can read errors of every class too, those that were
/// made before any handler ran included; where it should come back later it is told when, in seconds.
/// [C-05] [C-14] [H-30]
#[tokio::test]
async fn errors_can_be_read_by_a_listed_origin() {
    let cors = ["--cors-origin", GOOD];
    let (jeton, mut outage) = Jeton::start_before_outage_with(ENGINE, &cors).await;
    let check = async |status: u16, case: &str, request: Request| {
        let reply = request.header("Origin", GOOD).send().await;
        assert_eq!(reply.status, status, "{case}: {}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), GOOD, "{case}");
        assert!(reply.has("access-control-expose-headers"), "{case}");
        assert!(!reply.has("access-control-allow-credentials"), "{case}");
        assert!(reply.header("vary").eq_ignore_ascii_case("origin"), "{case}");
        assert!(!reply.error().is_empty(), "{case}");
        let later = reply.header("retry-after");
        assert_eq!(later.parse::<u32>().is_ok(), matches!(status, 429 | 503), "{case}: {later}");
    };
    let token = |form: &str| jeton.post_as("web", "/token", form);
    let login = login_form("alice", PASSWORD);
    let long = format!("{login}&x={}", "x".repeat(16_384));
    check(400, "a bad request", token("grant_type=password")).await;
    check(400, "a wrong password", token(&login_form("alice", "wrong"))).await;
    check(400, "a wrong media type", token("{}").without("Content-Type")).await;
    check(401, "no client", jeton.post("/token", &login)).await;
    check(401, "a wrong secret", jeton.post("/token", &login).basic("web", "wrong")).await;
    check(404, "an unknown path", jeton.post("/tokens", &login)).await;
    check(405, "a wrong method", jeton.request("GET", "/token")).await;
    check(413, "too much content", token(&long)).await;
    check(413, "too much content in chunks", token(&long).chunked()).await;

    let guess = jeton.post("/token", &login).basic("web", "wrong");
    while guess.send().await.status == 401 {}
    check(429, "too many wrong secrets", guess).await;

    outage.begin();
    check(503, "an outage", token(&login)).await;
    outage.end();
    jeton.database.query("UPDATE clients SET settings = 'null'").await;
    check(500, "a damaged row", token(&login)).await;
}

/// Fetch, "CORS check"; ASVS 5.0 §3.4.2: origins are compared as a whole, so another one gets
/// nothing it could read, and no server error. Responses say that they depend on the origin, even
/// where none was sent. [C-06] [C-07] [C-08] [C-16]
#[tokio::test]
async fn another_origin_gets_nothing() {
    let jeton = jeton_for_browsers().await;
    let login = login_form("alice", PASSWORD);
    for origin in FOREIGN {
        let reply = preflight(&jeton, "/token", origin, "authorization").send().await;
        assert!(matches!(reply.status, 204 | 403), "{origin}");
        assert_no_cors(&reply, origin);
        let reply = jeton.post_as("web", "/token", &login).header("Origin", origin).send().await;
        reply.assert_error(403, "invalid_request");
        assert_no_cors(&reply, origin);
        assert!(reply.header("vary").eq_ignore_ascii_case("origin"), "{origin}");
    }
    let twice = jeton.post_as("web", "/token", &login).header("Origin", GOOD);
    let twice = twice.header("Origin", GOOD).send().await;
    twice.assert_error(403, "invalid_request");
    assert_no_cors(&twice, "two origins");

    let none = jeton.token(&login).await;
    none.access_token();
    assert!(none.header("vary").eq_ignore_ascii_case("origin"));
    assert_no_cors(&none, "no origin");
}

/// Fetch, "CORS-safelisted request-header": a page can post a form anywhere without a preflight. A
/// page of a foreign origin makes no one hash a password, and nobody's failures count. [C-15]
#[tokio::test]
async fn a_hostile_page_cannot_have_passwords_tried() {
    let jeton = jeton_for_browsers().await;
    let failures = async || jeton.database.query("SELECT * FROM login_throttle").await;
    let form = login_form("alice", PASSWORD) + "&client_id=spa";
    let wrong = login_form("alice", "wrong") + "&client_id=spa";
    let before = jeton.passwords_verified().await;
    for origin in FOREIGN {
        let refused = jeton.post("/token", &wrong).header("Origin", origin).send().await;
        refused.assert_error(403, "invalid_request");
        let refused = jeton.post("/token", &form).basic("web", "wrong");
        refused.header("Origin", origin).send().await.assert_error(403, "invalid_request");
        let refused = jeton.post("/token", &form).header("Origin", origin).send().await;
        refused.assert_error(403, "invalid_request");
        let refused = jeton.post("/introspect", "token=x").header("Origin", origin).send().await;
        refused.assert_error(403, "invalid_request");
    }
    assert_eq!(jeton.passwords_verified().await, before);
    assert!(failures().await.is_empty());
    jeton.post("/token", &wrong).header("Origin", GOOD).send().await;
    assert!(!failures().await.is_empty(), "they are counted");
    jeton.post("/token", &form).header("Origin", GOOD).send().await.access_token();
    assert_ne!(jeton.passwords_verified().await, before, "the counter counts");
}

/// RFC 9700 §2.6; ASVS 5.0 §3.4.2: anyone may read the public documents from a page; introspection
/// is for no page, a listed one included. [C-10] [C-13]
#[tokio::test]
async fn documents_are_for_everyone_and_introspection_for_no_page() {
    let jeton = jeton_for_browsers().await;
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        for origin in FOREIGN.iter().chain(&[GOOD]) {
            let reply = jeton.request("GET", path).header("Origin", origin).send().await;
            assert_eq!(reply.status, 200, "{path} {origin}");
            assert_eq!(reply.header("access-control-allow-origin"), "*", "{path} {origin}");
            let asked = preflight(&jeton, path, origin, "authorization").send().await;
            assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, "*"));
            // Tracing and API explorers set these.
            let asked = preflight(&jeton, path, origin, "if-none-match,traceparent").send().await;
            let allowed = list(&asked, "access-control-allow-headers");
            assert!(allowed.ends_with(&["if-none-match".into(), "traceparent".into()]), "{path}");
        }
    }
    let asked = preflight(&jeton, "/introspect", GOOD, "authorization").send().await;
    assert_no_cors(&asked, "preflight");
    let reply = jeton.post_as("rs1", "/introspect", "token=x").header("Origin", GOOD).send().await;
    reply.assert_error(403, "invalid_request");
    assert_no_cors(&reply, "introspection");

    // Without the setting there is no origin that may use /token.
    let closed = Jeton::start(ENGINE).await;
    assert_no_cors(&preflight(&closed, "/token", GOOD, "authorization").send().await, "closed");
}

/// Fetch, "CORS-preflight fetch": ten thousand preflights, during an outage of the database, are all
/// answered, and the login after them too. [C-17]
#[tokio::test]
async fn preflights_cost_nothing() {
    let cors = ["--cors-origin", GOOD];
    let (jeton, mut outage) = Jeton::start_before_outage_with(ENGINE, &cors).await;
    outage.begin();
    let one = preflight(&jeton, "/token", GOOD, "authorization,x-requested-with");
    let mut octets = one.octets().repeat(9_999);
    octets.extend(one.header("Connection", "close").octets());
    let stream = TcpStream::connect(jeton.service.public).await.expect("the service listens");
    let (mut reader, mut writer) = stream.into_split();
    // The half for writing stays open: a caller that closes it does not wait for answers.
    let writing = tokio::spawn(async move { writer.write_all(&octets).await.map(|()| writer) });
    let mut answers = String::new();
    reader.read_to_string(&mut answers).await.expect("text");
    writing.await.expect("no panic").expect("everything was taken");
    assert_eq!(answers.matches("HTTP/1.1 204 ").count(), 10_000);
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 10_000);
    outage.end();
    jeton.access_token().await;
}

/// The Authorize dialog of Swagger UI 5: a preflight, then raw Basic, `%20` or `+` between scopes, or
/// an empty scope; with empty client fields, credentials that are a lone colon. [C-18]
#[tokio::test]
async fn swagger_ui_can_authorize() {
    let arguments = ["--cors-origin", GOOD, "--default-client", "spa"];
    let jeton = Jeton::start_with(ENGINE, &arguments).await;
    let asked = preflight(&jeton, "/token", GOOD, "authorization,x-requested-with").send().await;
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, GOOD));
    let password = percent_encode(PASSWORD);
    let secret = jeton.fixtures.secret("web");
    for (client, secret, scope, granted) in [
        ("web", secret, "scope=read%20write&", "read write"),
        ("web", secret, "scope=read+write&", "read write"),
        ("web", secret, "scope=&", "read"),
        ("", "", "", "read"),
        ("spa", "", "scope=read&", "read"),
    ] {
        let form = format!("grant_type=password&{scope}username=alice&password={password}");
        let case = format!("{client} {scope}");
        let request = jeton
            .request("POST", "/token")
            .header("Accept", "application/json, text/plain, */*")
            .header("Origin", GOOD)
            .header("Referer", "https://good.example/docs")
            .header("X-Requested-With", "XMLHttpRequest")
            .form(&form)
            .basic(client, secret);
        let reply = request.send().await;
        assert_eq!(reply.header("access-control-allow-origin"), GOOD, "{case}");
        let mut scope: Vec<_> = reply.member("scope").split(' ').map(str::to_owned).collect();
        scope.sort();
        assert_eq!(scope.join(" "), granted, "{case}");
        let id = if client.is_empty() { "spa" } else { client };
        assert_eq!(claims(&reply.access_token())["client_id"], id, "{case}");
    }
}
