//! HTTP/1.1 as strangers speak it (RFC 9110, RFC 9112).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::harness::Request;
use crate::harness::client::{exchange, until_closed};

const JWKS: &str = "/.well-known/jwks.json";
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// A whole login, as octets.
fn login(jeton: &Jeton) -> Vec<u8> {
    jeton.post_as("web", "/token", &login_form("alice", PASSWORD)).octets()
}

/// RFC 9110 §9.3.7, §10.2.1, §15.5.6: each path says which methods it has, to OPTIONS and to every
/// other one; TRACE echoes nothing. [H-08] [H-10] [H-11] [H-13]
#[tokio::test]
async fn each_path_says_which_methods_it_has() {
    let jeton = jeton().await;
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"];
    for (path, allow) in [
        ("/token", "POST, OPTIONS"),
        ("/introspect", "POST, OPTIONS"),
        (JWKS, "GET, HEAD, OPTIONS"),
        (METADATA, "GET, HEAD, OPTIONS"),
    ] {
        let options = jeton.request("OPTIONS", path).send().await;
        assert_eq!((options.status, options.header("allow")), (204, allow), "{path}");
        assert!(!options.has("content-length"), "{path}");
        for method in methods.iter().filter(|method| !allow.contains(*method)) {
            let request = jeton.request(method, path).header("X-Probe", "echo-me");
            let reply = request.send().await;
            assert_eq!((reply.status, reply.header("allow")), (405, allow), "{method} {path}");
            if *method != "HEAD" {
                reply.assert_error(405, "invalid_request");
                assert!(!reply.text().contains("echo-me"), "{method} {path}");
            }
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        let get = jeton.manage(path).send().await;
        let head = Request::new(jeton.service.management, "HEAD", path).send().await;
        assert_eq!((get.status, head.status, head.content.len()), (200, 200, 0), "{path}");
        let post = Request::new(jeton.service.management, "POST", path).send().await;
        assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"), "{path}");
    }
}

/// RFC 9110 §15.5.5; RFC 9700 §4.12: a path is compared octet by octet and never redirected, since a
/// redirect makes clients send their credentials again. What is not there is told without detail.
/// [H-25] [H-26]
#[tokio::test]
async fn paths_match_exactly_and_are_never_redirected() {
    let jeton = jeton().await;
    for path in [
        "/",
        "/token/",
        "/Token",
        "//token",
        "/token/.",
        "/./token",
        "/x/../token",
        "/%74oken",
        "/token%2F",
        "/token;x",
        "/oauth/token",
        "/authorize",
        "/livez",
        "/metrics",
        "/token.json",
    ] {
        let reply = jeton.post_as("web", path, &login_form("alice", PASSWORD)).send().await;
        reply.assert_error(404, "invalid_request");
        assert!(!reply.has("location"), "{path}");
        assert!(!reply.text().contains(path) || path == "/", "{path}: {}", reply.text());
    }
}

/// RFC 9110 §6.6.1, §8.3, §8.6; ASVS 5.0 §3.4.3 to §3.4.6, §13.4.6: every answer has a date, its
/// media type, its exact length and the defences, and neither a banner nor an encoding. [H-14] [H-27]
/// [H-28] [H-29] [H-31] [S-12]
#[tokio::test]
async fn every_answer_carries_what_it_must_and_no_banner() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    for (case, request) in [
        ("token", jeton.post_as("web", "/token", &form)),
        ("error", jeton.post_as("web", "/token", "grant_type=x")),
        ("no client", jeton.post("/token", &form)),
        ("introspection", jeton.post_as("rs1", "/introspect", "token=x")),
        ("keys", jeton.request("GET", JWKS)),
        ("metadata", jeton.request("GET", METADATA)),
        ("405", jeton.request("PUT", METADATA)),
        ("404", jeton.request("GET", "/nothing")),
        ("liveness", jeton.manage("/livez")),
        ("readiness", jeton.manage("/readyz")),
        ("metrics", jeton.manage("/metrics")),
        ("management 404", jeton.manage("/token")),
    ] {
        let request = request.header("Accept-Encoding", "gzip, br, deflate");
        let reply = request.send().await;
        assert!(!reply.header("content-type").is_empty() && !reply.content.is_empty(), "{case}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{case}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{case}");
        let policy = reply.header("content-security-policy");
        for directive in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(directive), "{case}: {policy}");
        }
        assert!(reply.header("date").ends_with(" GMT"), "{case}");
        assert!(!reply.header("x-request-id").is_empty(), "{case}");
        for name in ["server", "x-powered-by", "via", "content-encoding", "set-cookie", "location"]
        {
            assert!(!reply.has(name), "{case}: {name}");
        }
        let address = if case.starts_with(['l', 'r', 'm']) && !case.starts_with("metadata") {
            jeton.service.management
        } else {
            jeton.service.public
        };
        let text = until_closed(address, &request.header("Connection", "close").octets()).await;
        let (head, content) = text.split_once("\r\n\r\n").expect("a head");
        let length = format!("content-length: {}", content.len());
        assert!(head.to_lowercase().lines().any(|line| line == length), "{case}: {head}");
    }
}

/// RFC 9112 §6.1, §6.3: a request about whose end two readers could disagree is refused and the
/// connection closed, so that nothing can be smuggled behind it. [H-15] [H-16] [H-17]
#[tokio::test]
async fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let jeton = jeton().await;
    let basic = jeton.post_as("web", "/token", "");
    let head = String::from_utf8(basic.without("Content-Length").octets()).expect("text");
    let head = head.trim_end().replace("Content-Length: 0", "");
    let head = head.trim_end();
    let form = login_form("alice", PASSWORD);
    let length = form.len();
    let chunked = format!("{length:x}\r\n{form}\r\n0\r\n\r\n");
    let smuggled = format!("GET {JWKS} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (status, framing) in [
        // The chunks win, and the connection closes.
        (200, format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}")),
        (200, format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunked}")),
        (400, format!("Transfer-Encoding: chunked, identity\r\n\r\n{chunked}")),
        (400, format!("Transfer-Encoding: xchunked\r\n\r\n{chunked}")),
        (400, format!("Content-Length: {length}\r\nContent-Length: 5\r\n\r\n{form}")),
        (400, format!("Content-Length: {length}, 6\r\n\r\n{form}")),
        (400, format!("Content-Length: -1\r\n\r\n{form}")),
        (400, format!("Content-Length: +{length}\r\n\r\n{form}")),
        (400, format!("Content-Length: 1e3\r\n\r\n{form}")),
        (400, format!("Content-Length: 0x{length:x}\r\n\r\n{form}")),
        (400, format!("Content-Length: {}\r\n\r\n{form}", "9".repeat(30))),
        (400, format!("Content-Length : {length}\r\n\r\n{form}")),
    ] {
        let octets = format!("{head}\r\n{framing}{smuggled}");
        let answer = until_closed(jeton.service.public, octets.as_bytes()).await;
        let case = framing.lines().take(2).collect::<Vec<_>>();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{case:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{case:?}: {answer}");
        assert_eq!(answer.contains("access_token"), status == 200, "{case:?}");
    }
    // What follows the declared content is another request, and no part of the form.
    let mut octets = login(&jeton);
    octets.extend(format!("&scope=admin HTTP/1.1\r\n{smuggled}").into_bytes());
    let answer = until_closed(jeton.service.public, &octets).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(r#""scope":"read""#) && answer.contains("HTTP/1.1 400 "), "{answer}");
}

/// RFC 9110 §5.5; RFC 9112 §3.2, §5.1, §5.2: a request has exactly one valid host, and fields
/// without control characters, without blanks before the colon and without folding. [H-18] [H-19]
#[tokio::test]
async fn malformed_heads_are_refused() {
    let jeton = jeton().await;
    let good = format!("GET {JWKS} HTTP/1.1\r\nHost: jeton.example:80\r\n");
    let end = "Connection: close\r\n\r\n";
    let answer = until_closed(jeton.service.public, format!("{good}{end}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for (case, head) in [
        ("no host", format!("GET {JWKS} HTTP/1.1\r\n")),
        ("two hosts", format!("{good}Host: jeton.example:80\r\n")),
        ("a list of hosts", format!("GET {JWKS} HTTP/1.1\r\nHost: a, b\r\n")),
        ("a host with a path", format!("GET {JWKS} HTTP/1.1\r\nHost: a/b\r\n")),
        ("a host with a user", format!("GET {JWKS} HTTP/1.1\r\nHost: a@b\r\n")),
        ("no host and no such path", "GET /nothing HTTP/1.1\r\n".to_owned()),
        ("a blank before the colon", format!("{good}X : a\r\n")),
        ("a folded field", format!("{good}X: a\r\n b\r\n")),
        ("a carriage return", format!("{good}X: a\rb\r\n")),
        ("a null", format!("{good}X: a\0b\r\n")),
        ("no colon", format!("{good}X\r\n")),
        ("an empty name", format!("{good}: a\r\n")),
        ("a fragment of a version", format!("GET {JWKS} HTTP/1\r\nHost: a\r\n")),
        ("blanks in the target", format!("GET {JWKS} x HTTP/1.1\r\nHost: a\r\n")),
    ] {
        let octets = format!("{head}{end}");
        let answer = until_closed(jeton.service.public, octets.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{case}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{case}: {answer}");
    }
}

/// RFC 9110 §15.5.14; RFC 6585 §5: what is longer than any honest request is refused, and the
/// service goes on. [H-21]
#[tokio::test]
async fn overlong_requests_are_refused() {
    let jeton = jeton().await;
    let long = "x".repeat(100_000);
    for (case, request, statuses) in [
        ("line", jeton.request("GET", &format!("{JWKS}?{long}")), [414, 431]),
        ("field", jeton.request("GET", JWKS).header("X", &long), [431, 431]),
        ("content", jeton.post_as("web", "/token", &format!("x={long}")), [413, 413]),
    ] {
        let replies = exchange(jeton.service.public, &request.octets(), false).await;
        let [reply] = &replies[..] else { panic!("{case}: {replies:?}") };
        assert!(statuses.contains(&reply.status), "{case}: {reply:?}");
    }
    let mut many = jeton.request("GET", JWKS);
    for number in 0..1_000 {
        many = many.header(&format!("X-{number}"), "x");
    }
    assert_eq!(many.send().await.status, 431);
    jeton.access_token().await;
}

/// docs/settings.md, «Limits»: what is just as long as it may be is taken, and one octet or field more is not.
/// [H-21]
#[tokio::test]
async fn limits_are_exact() {
    let jeton = jeton().await;
    let keys = jeton.request("GET", JWKS);
    let with_fields = |number: usize| {
        (1..number).fold(keys.clone(), |request, n| request.header(&format!("X-{n}"), "x"))
    };
    assert_eq!(with_fields(64).send().await.status, 200);
    assert_eq!(with_fields(65).send().await.status, 431);
    let with_content = |length: usize| {
        let form = login_form("alice", PASSWORD) + "&x=";
        let padding = "x".repeat(length - form.len());
        jeton.post_as("web", "/token", &(form + &padding))
    };
    for length in [16_384, 16_385] {
        let status = if length == 16_384 { 200 } else { 413 };
        assert_eq!(with_content(length).send().await.status, status, "{length}");
        assert_eq!(with_content(length).chunked().send().await.status, status, "{length}");
    }
    let with_head = |length: usize| {
        let rest = keys.clone().header("X", "").octets().len();
        keys.clone().header("X", &"x".repeat(length - rest))
    };
    assert_eq!(with_head(16_384).octets().len(), 16_384);
    assert_eq!(with_head(16_384).send().await.status, 200);
    assert_eq!(with_head(16_385).send().await.status, 431);
    jeton.access_token().await;
}

/// RFC 9110 §10.1.1: a client that asks first is told to go on, or what is wrong at once. [H-22]
#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_answered() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    let octets = jeton.post_as("web", "/token", &form).header("Expect", "100-continue").octets();
    let (head, content) = octets.split_at(octets.len() - form.len());
    let mut stream = TcpStream::connect(jeton.service.public).await.expect("the service listens");
    stream.write_all(head).await.expect("it reads");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.expect("an interim answer");
    assert_eq!(interim, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(content).await.expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("a final answer");
    assert_eq!(answer, *b"HTTP/1.1 200");

    let wrong = jeton.post_as("web", "/token", &form).without("Content-Type");
    let wrong = wrong.header("Expect", "100-continue").header("Connection", "close").octets();
    let head = &wrong[..wrong.len() - form.len()];
    let answer = until_closed(jeton.service.public, head).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("HTTP/1.1 100"), "{answer}");
}

/// RFC 9110 §11.6.1, §15.5.2: every 401 says how to authenticate. [H-09]
#[tokio::test]
async fn every_401_has_a_challenge() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    for path in ["/token", "/introspect"] {
        let form = if path == "/token" { form.as_str() } else { "token=x" };
        for (case, request) in [
            ("nobody", jeton.post(path, form)),
            ("a wrong secret", jeton.post(path, form).basic("web", "wrong")),
            ("an unknown client", jeton.post(path, form).basic("x", "y")),
            ("another scheme", jeton.post(path, form).header("Authorization", "Bearer x")),
            ("broken Basic", jeton.post(path, form).header("Authorization", "Basic %")),
            (
                "a secret in the body",
                jeton.post(path, &format!("{form}&client_id=web&client_secret=x")),
            ),
        ] {
            let reply = request.send().await;
            assert_eq!(reply.status, 401, "{path} {case}: {}", reply.text());
            assert!(reply.header("www-authenticate").starts_with("Basic realm="), "{path} {case}");
        }
    }
}

/// RFC 6750 §5.3: there are no ambient credentials: a cookie changes nothing and none is set. [H-33]
#[tokio::test]
async fn cookies_mean_nothing() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    let cookie = format!("access_token={token}; session=x; client_id=web");
    for (case, request) in [
        ("keys", jeton.request("GET", JWKS)),
        ("no client", jeton.post("/token", &login_form("alice", PASSWORD))),
        ("introspection", jeton.post_as("rs1", "/introspect", "token=x")),
        ("no token", jeton.post_as("rs1", "/introspect", "")),
    ] {
        let without = request.send().await;
        let with = request.header("Cookie", &cookie).send().await;
        assert_eq!(with.comparable(), without.comparable(), "{case}");
        assert!(!with.has("set-cookie"), "{case}");
    }
}
