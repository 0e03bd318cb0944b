//! The authorization server metadata (RFC 8414).

use serde_json::{Value, json};

use super::*;
use crate::harness::forge::claims;
use crate::harness::{Executable, Request, run};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

async fn document(jeton: &Jeton, path: &str) -> Value {
    let reply = jeton.request("GET", path).send().await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

/// A request to the address that the document names.
fn at(jeton: &Jeton, method: &str, document: &Value, member: &str) -> Request {
    let url = document[member].as_str().unwrap_or_else(|| panic!("no {member} in {document}"));
    let path = url.splitn(4, '/').nth(3).expect("a URL with a path");
    jeton.request(method, &format!("/{path}"))
}

/// RFC 8414 §2, §3.2; RFC 9068 §4: what the document says is the configured issuer, what works,
/// and nothing else: no empty lists, no nulls, nothing of grants that are not served; each address is
/// as safe as the issuer's. [M-01] [M-04] [M-05] [M-06] [M-07] [M-08] [M-10] [M-12] [M-15] [M-16]
/// [M-17] [M-19] [M-22] [M-24] [M-25] [M-26] [M-27]
#[tokio::test]
async fn the_document_says_what_is_served_and_nothing_else() {
    let issuer = "https://auth.example.com";
    let jeton = Jeton::start_with(ENGINE, &["--issuer", issuer]).await;
    let reply = jeton.request("GET", OAUTH).send().await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    let metadata = reply.json();
    let members: Vec<_> = metadata.as_object().expect("an object").keys().collect();
    for absent in [
        "authorization_endpoint",
        "response_types_supported",
        "code_challenge_methods_supported",
        "token_endpoint_auth_signing_alg_values_supported",
        "introspection_endpoint_auth_signing_alg_values_supported",
        "service_documentation",
        "signed_metadata",
        "dpop_signing_alg_values_supported",
        "id_token_signing_alg_values_supported",
        "claims_supported",
    ] {
        assert!(!members.iter().any(|member| *member == absent), "{absent}");
    }
    for (member, value) in metadata.as_object().expect("an object") {
        match value {
            Value::String(text) if member == "issuer" => assert_eq!(text, issuer),
            Value::String(url) => {
                assert!(url.starts_with("https://auth.example.com/"), "{member}: {url}");
                assert!(!url.contains(['#', '?']), "{member}: {url}");
            }
            Value::Array(items) => {
                assert!(member.ends_with("_supported"), "{member}");
                assert!(!items.is_empty() && items.iter().all(Value::is_string), "{member}");
            }
            other => panic!("{member}: {other}"),
        }
    }
    assert_eq!(claims(&jeton.access_token().await)["iss"], issuer);
    assert_eq!(metadata["subject_types_supported"], json!(["public"]));
    for scope in ["read", "write", "admin", "api1.read", "api2.read"] {
        let scopes = metadata["scopes_supported"].as_array().expect("an array");
        assert!(scopes.contains(&json!(scope)), "{scope} in {scopes:?}");
    }
    let keys = at(&jeton, "GET", &metadata, "jwks_uri").send().await;
    assert!(keys.json()["keys"].is_array(), "{}", keys.text());
    let form = login_form("alice", PASSWORD);
    let login = at(&jeton, "POST", &metadata, "token_endpoint").form(&form);
    let login = login.basic("web", jeton.fixtures.secret("web")).send().await;
    let revoke = format!("token={}", login.refresh_token());
    let revoke = at(&jeton, "POST", &metadata, "revocation_endpoint").form(&revoke);
    revoke.basic("web", jeton.fixtures.secret("web")).send().await;
    jeton.refresh("web", &login.refresh_token(), "").await.assert_error(400, "invalid_grant");
    assert_eq!(document(&jeton, OPENID).await, metadata);
}

/// RFC 8414 §2: each authentication method of the lists works, and the others do not. Where the
/// document says nothing of `none`, a public client is refused. [M-11] [M-13] [M-14]
#[tokio::test]
async fn the_authentication_methods_listed_are_those_that_work() {
    let jeton = jeton().await;
    let metadata = document(&jeton, OAUTH).await;
    let grant = login_form("alice", PASSWORD);
    let question = "token=x".to_owned();
    let revocation = question.clone();
    let assertion = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3A\
                     jwt-bearer&client_assertion=e30.e30.";
    for (endpoint, form, confidential) in [
        ("token_endpoint", grant, "web"),
        ("introspection_endpoint", question, "rs1"),
        ("revocation_endpoint", revocation, "web"),
    ] {
        let member = format!("{endpoint}_auth_methods_supported");
        let listed = metadata[&member].as_array().expect("an array");
        let secret = jeton.fixtures.secret(confidential);
        let post = |form: &str| at(&jeton, "POST", &metadata, endpoint).form(form);
        for (method, request) in [
            ("client_secret_basic", post(&form).basic(confidential, secret)),
            (
                "client_secret_post",
                post(&format!("{form}&client_id={confidential}&client_secret={secret}")),
            ),
            ("none", post(&format!("{form}&client_id=spa"))),
            ("private_key_jwt", post(&format!("{form}&client_id={confidential}&{assertion}"))),
            ("client_secret_jwt", post(&format!("{form}&{assertion}"))),
        ] {
            let reply = request.send().await;
            if listed.contains(&json!(method)) {
                assert_eq!(reply.status, 200, "{endpoint} {method}: {}", reply.text());
            } else {
                assert!(matches!(reply.status, 400 | 401 | 403), "{endpoint} {method}");
                assert!(!reply.error().is_empty(), "{endpoint} {method}: {}", reply.text());
            }
        }
        assert_eq!(listed.contains(&json!("none")), endpoint != "introspection_endpoint");
        assert!(listed.len() >= 2);
    }
}

/// RFC 8414 §2: the grants listed are those that the token endpoint takes; were the list absent,
/// it would mean others. [M-09]
#[tokio::test]
async fn the_grants_listed_are_those_that_work() {
    let jeton = jeton().await;
    let listed = document(&jeton, OAUTH).await["grant_types_supported"].clone();
    assert_eq!(listed, json!(["password", "refresh_token"]));
    for grant in
        ["password", "refresh_token", "authorization_code", "client_credentials", "implicit"]
    {
        let form = format!("grant_type={grant}&username=alice&password=x&code=x&refresh_token=x");
        let reply = jeton.token(&form).await;
        let refused = reply.error() == "unsupported_grant_type";
        assert_eq!(
            listed.as_array().expect("an array").contains(&json!(grant)),
            !refused,
            "{grant}"
        );
    }
}

/// RFC 8414 §3.1: a path of the issuer comes after the well-known part; endpoints are below it. A
/// terminating slash is part of the identifier and of no address. [M-02]
#[tokio::test]
async fn the_path_of_an_issuer_is_inserted() {
    for issuer in ["http://localhost/t1", "https://h.example/t1/"] {
        let jeton = Jeton::start_with(ENGINE, &["--issuer", issuer]).await;
        let metadata = document(&jeton, &format!("{OAUTH}/t1")).await;
        assert_eq!(metadata["issuer"], issuer);
        let base = issuer.trim_end_matches('/');
        assert_eq!(metadata["token_endpoint"], format!("{base}/token"));
        assert_eq!(metadata["revocation_endpoint"], format!("{base}/revoke"));
        // OpenID Connect Discovery §4 appends, so that name is served in both places.
        assert_eq!(document(&jeton, &format!("{OPENID}/t1")).await, metadata);
        assert_eq!(document(&jeton, &format!("/t1{OPENID}")).await, metadata);
        let form = login_form("alice", PASSWORD);
        let login = jeton.post_as("web", "/t1/token", &form).send().await;
        assert_eq!(claims(&login.access_token())["iss"], issuer);
        let revoke = format!("token={}", login.refresh_token());
        assert_eq!(jeton.post_as("web", "/t1/revoke", &revoke).send().await.status, 200);
        assert_eq!(jeton.sessions().await.len(), 0);
        assert_eq!(at(&jeton, "GET", &metadata, "jwks_uri").send().await.status, 200);
        for path in [OAUTH, OPENID, &format!("/t1{OAUTH}"), &format!("{OAUTH}/t1/"), "/token"] {
            jeton.request("GET", path).send().await.assert_error(404, "invalid_request");
        }
    }
}

/// RFC 8414 §2; RFC 6749 §3.2; ASVS 5.0 §12.2.1: an issuer that is no https URL, or has a query or
/// fragment, stops the start with a sentence that names the setting; so does a listener that would
/// carry passwords in the clear, unless a proxy is said to stand before it. [M-03] [H-34]
#[tokio::test]
async fn an_unsafe_issuer_or_listener_stops_the_start() {
    let jeton = jeton().await;
    let url = jeton.database.url.clone();
    let master_key = jeton.fixtures.master_key.display().to_string();
    let check = tokio::task::spawn_blocking(move || {
        let usual = ["--database", &url, "--master-key-file", &master_key];
        let refused = |arguments: &[&str], setting: &str, why: &str| {
            let free = ["--management-listen", "127.0.0.1:0"];
            let all = [&["serve"], arguments, &free, &usual].concat();
            let output = run(&all);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
            assert!(text.contains(setting) && text.contains(why), "{arguments:?}: {text}");
        };
        for (issuer, why) in [
            ("http://auth.example.com", "https"),
            ("ftp://auth.example.com", "https"),
            ("https://auth.example.com?x", "query"),
            ("https://auth.example.com#x", "fragment"),
            ("https://user@auth.example.com", "user"),
            ("auth.example.com", "https://"),
            ("", "https://"),
        ] {
            refused(&["--listen", "127.0.0.1:0", "--issuer", issuer], "--issuer", why);
        }
        let issuer = ["--issuer", "https://auth.example.com"];
        let open = ["--listen", "0.0.0.0:0"];
        refused(&open, "--issuer", "missing");
        refused(&[open, issuer].concat(), "--listen", "--behind-tls-proxy");
        Executable::serve(&[&open[..], &issuer, &usual, &["--behind-tls-proxy"]].concat());
    });
    check.await.expect("no panic");
}

/// RFC 8414 §6.2; ASVS 5.0 §4.1.3: addresses come from the configuration, whatever a request says
/// of hosts and schemes. [M-18]
#[tokio::test]
async fn a_request_cannot_change_the_addresses() {
    let jeton = jeton().await;
    let plain = jeton.request("GET", OAUTH).send().await;
    let forwarded = [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Prefix", "/evil"),
        ("Forwarded", "host=evil.example;proto=gopher"),
        ("X-Original-URL", "/evil"),
    ];
    let mut request = jeton.request("GET", OAUTH).without("Host").header("Host", "evil.example");
    for (name, value) in forwarded {
        request = request.header(name, value);
    }
    assert_eq!(request.send().await.comparable(), plain.comparable());
    let absolute = jeton.request("GET", &format!("http://evil.example{OAUTH}")).send().await;
    assert!(!absolute.text().contains("evil"), "{}", absolute.text());
}

/// RFC 9110 §9.1, §9.3.2, §15.5.6; RFC 9700 §2.6; RFC 9111 §5.2.2: a public document, cacheable for
/// an hour at most, that can be read and nothing else. [M-20] [M-21] [M-23]
#[tokio::test]
async fn the_document_is_public_and_can_only_be_read() {
    let jeton = jeton().await;
    for path in [OAUTH, OPENID] {
        let plain = jeton.request("GET", path).send().await;
        assert_eq!(plain.header("access-control-allow-origin"), "*");
        let lifetime = plain.header("cache-control").strip_prefix("public, max-age=");
        let lifetime: u32 = lifetime.and_then(|text| text.parse().ok()).expect("a lifetime");
        assert!((1..=3_600).contains(&lifetime), "{lifetime}");
        let strange = jeton.request("GET", path).basic("web", "wrong").header("Origin", "null");
        assert_eq!(strange.send().await.comparable(), plain.comparable());

        let head = jeton.request("HEAD", path).send().await;
        assert_eq!((head.status, head.headers.len()), (200, plain.headers.len()));
        assert_eq!(head.header("content-length"), plain.header("content-length"));
        let tag = plain.header("etag");
        let known = jeton.request("GET", path).header("If-None-Match", tag).send().await;
        assert_eq!((known.status, known.content.len()), (304, 0));
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
            let reply = jeton.request(method, path).send().await;
            reply.assert_error(405, "invalid_request");
            assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS", "{method} {path}");
        }
    }
}
