//! The revocation request as a message, and who may post it (RFC 7009 §2.1). What it ends is in
//! `revocation.rs`.

use serde_json::json;

use super::*;
use crate::harness::Request;

/// A service, and a session of `web` that a refused request must not end.
async fn jeton_with_session() -> (Jeton, String) {
    let jeton = jeton().await;
    let token = jeton.login_through("web", "").await.refresh_token();
    (jeton, token)
}

async fn assert_alive(jeton: &Jeton, token: &str, case: &str) {
    assert_eq!(jeton.sessions().await.len(), 1, "{case}");
    let reply = jeton.refresh("web", token, "").await;
    assert_eq!(reply.status, 200, "{case}: {}", reply.text());
}

/// RFC 7009 §2.1, RFC 6749 §3.2, Appendix B: the token is posted in a form, once, and is not empty;
/// the form is read as strictly as at the token endpoint. Nothing is taken from the URI, which is
/// logged.
#[tokio::test]
async fn the_token_is_posted_in_a_form() {
    let (jeton, token) = jeton_with_session().await;
    let before = jeton.sessions().await;
    for form in [
        String::new(),
        "token=".to_owned(),
        "token".to_owned(),
        format!("Token={token}"),
        format!("refresh_token={token}"),
        format!("token={token}&token={token}"),
        format!("token=&token={token}"),
        format!("token={token}&tok%65n=x"),
        format!("token={token}&client_id=web&client_id=web"),
        format!("token={token}&token_type_hint=a&token_type_hint=a"),
        format!("token={token}&token_type_hint={}", "x".repeat(129)),
        format!("token={token}&x=%zz"),
        format!("token={token}&x=%FF"),
        format!("token={token}{}", "&a=b".repeat(100)),
    ] {
        let reply = jeton.post_as("web", "/revoke", &form).send().await;
        assert_eq!(reply.error(), "invalid_request", "{form}");
        reply.assert_error(400, "invalid_request");
    }
    let request = jeton.revoking("web", &token);
    let of_type =
        |value: &str| request.clone().without("Content-Type").header("Content-Type", value);
    for (case, wrong) in [
        ("JSON", of_type("application/json").content(json!({"token": token}).to_string())),
        ("multipart", of_type("multipart/form-data; boundary=x")),
        ("no type", request.clone().without("Content-Type")),
        ("two types", request.clone().header("Content-Type", "application/json")),
        ("gzip", request.clone().header("Content-Encoding", "gzip")),
        ("in the URI", jeton.post_as("web", &format!("/revoke?token={token}"), "")),
        ("in the URI, with a form", jeton.post_as("web", &format!("/revoke?token={token}"), "a=b")),
    ] {
        let reply = wrong.send().await;
        assert_eq!(reply.error(), "invalid_request", "{case}");
        reply.assert_error(400, "invalid_request");
    }
    let large = jeton.revoking("web", &"x".repeat(1 << 20)).send().await;
    large.assert_error(413, "invalid_request");
    assert_eq!(jeton.sessions().await, before);
    // RFC 7009 §2.2: what cannot be a token is answered like any that is not good.
    for odd in [format!("{token}%00"), "x".repeat(8_193)] {
        let reply = jeton.revoking("web", "").content(format!("token={odd}")).send().await;
        assert_eq!((reply.status, reply.text()), (200, "{}"), "{odd}");
    }
    assert_eq!(jeton.sessions().await, before);
    // What is not known is ignored, as everywhere.
    let form = format!("a=1&a=2&t%6Fken={token}&callback=x&scope=%22");
    let reply = jeton.post_as("web", "/revoke", &form).send().await;
    assert_eq!((reply.status, reply.text()), (200, "{}"));
    assert_eq!(jeton.sessions().await.len(), 0);
}

/// RFC 7009 §2.3, RFC 9110 §15.5.6: nothing but POST revokes; what a page could load as a script
/// revokes nothing.
#[tokio::test]
async fn only_post_revokes() {
    let (jeton, token) = jeton_with_session().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "FOO"] {
        let target = format!("/revoke?token={token}&client_id=web&callback=x");
        let form = format!("token={token}");
        let secret = jeton.fixtures.secret("web");
        for request in
            [jeton.request(method, &target), jeton.request(method, "/revoke").form(&form)]
        {
            let reply = request.basic("web", secret).send().await;
            assert_eq!((reply.status, reply.header("allow")), (405, "POST, OPTIONS"), "{method}");
            assert!(!String::from_utf8_lossy(&reply.content).contains("x("), "{method}");
        }
    }
    assert_alive(&jeton, &token, "nothing was revoked").await;
}

/// RFC 7009 §2.1, §2.2.1: a confidential client authenticates, and fails as at the token endpoint;
/// then nothing is revoked.
#[tokio::test]
async fn a_confidential_client_authenticates_to_revoke() {
    let (jeton, token) = jeton_with_session().await;
    let form = format!("token={token}");
    let secret = jeton.fixtures.secret("web").to_owned();
    let post = |further: &str| jeton.post("/revoke", &format!("{form}{further}"));
    for (case, status, request) in [
        ("nobody", 401, post("")),
        ("an empty Basic", 401, post("").header("Authorization", "Basic Og==")),
        ("a name", 401, post("&client_id=web")),
        ("a wrong secret", 401, post("").basic("web", "wrong")),
        ("no secret", 401, post("").basic("web", "")),
        ("another's secret", 401, post("").basic("other", &secret)),
        ("an unknown client", 401, post("").basic("nobody", &secret)),
        ("a wrong secret in the form", 401, post("&client_id=web&client_secret=wrong")),
        ("a public client with a secret", 401, post("").basic("spa", "x")),
        (
            "the token as a bearer",
            401,
            post("").header("Authorization", &format!("Bearer {token}")),
        ),
        (
            "a secret in the URI",
            401,
            jeton.post(&format!("/revoke?client_id=web&client_secret={secret}"), &form),
        ),
        ("two ways", 400, post("&client_id=web&client_secret=x").basic("web", &secret)),
        ("two names", 400, post("&client_id=other").basic("web", &secret)),
    ] {
        let reply = request.send().await;
        let code = if status == 401 { "invalid_client" } else { "invalid_request" };
        assert_eq!((reply.status, reply.error().as_str()), (status, code), "{case}");
        reply.assert_error(status, code);
        if status == 401 {
            assert!(reply.header("www-authenticate").starts_with("Basic realm="), "{case}");
        }
    }
    assert_alive(&jeton, &token, "nothing was revoked").await;
    let in_form = format!("&client_id=web&client_secret={secret}");
    assert_eq!(post(&in_form).send().await.text(), "{}");
    assert_eq!(jeton.sessions().await.len(), 0);

    let disabled = jeton.login_through("web", "").await.refresh_token();
    jeton.command("client disable web").await;
    jeton.revoking("web", &disabled).send().await.assert_error(401, "invalid_client");
}

/// RFC 7009 §5, §2.1: a public client says its name, which must be the token's; where a default client
/// is configured, a request that names none is that client's.
#[tokio::test]
async fn a_public_client_is_identified_to_revoke() {
    let jeton = Jeton::start_with(ENGINE, &["--default-client", "spa"]).await;
    for request in [
        |jeton: &Jeton, form: &str| jeton.post("/revoke", &format!("{form}&client_id=spa")),
        |jeton: &Jeton, form: &str| jeton.post("/revoke", form).basic("spa", ""),
        |jeton: &Jeton, form: &str| jeton.post("/revoke", form),
    ] {
        let spa = jeton.login_through("spa", "").await.refresh_token();
        let web = jeton.login_through("web", "").await.refresh_token();
        for (token, left) in [(&web, 2), (&spa, 1)] {
            let reply = request(&jeton, &format!("token={token}")).send().await;
            assert_eq!((reply.status, reply.text()), (200, "{}"));
            assert_eq!(jeton.sessions().await.len(), left);
        }
        jeton.refresh("spa", &spa, "").await.assert_error(400, "invalid_grant");
        jeton.revoke("web", &web).await;
    }
}

/// RFC 7009 §2.1: to give a token back needs no grant: a client that may not refresh any more can.
#[tokio::test]
async fn a_client_without_the_grant_can_revoke() {
    let (jeton, token) = jeton_with_session().await;
    jeton.command("client set web --grant password").await;
    jeton.revoke("web", &token).await;
    assert_eq!(jeton.sessions().await.len(), 0);
    jeton.revoke("nothing", "x").await;
}

/// RFC 7009 §2.2, RFC 9111 §5.2.2.5: the answer to a success is 200 with an empty object, which no
/// cache keeps.
#[tokio::test]
async fn the_answer_says_nothing_and_is_not_stored() {
    let (jeton, token) = jeton_with_session().await;
    for token in [token.as_str(), &token, "x"] {
        let reply = jeton.revoking("web", token).send().await;
        assert_eq!((reply.status, reply.text()), (200, "{}"));
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.header("cache-control"), "no-store");
        for absent in ["set-cookie", "etag", "last-modified", "expires", "www-authenticate"] {
            assert!(!reply.has(absent), "{absent}");
        }
        assert!(!reply.header("x-request-id").is_empty());
    }
    let refused = jeton.revoking("web", "").send().await;
    assert_eq!((refused.status, refused.header("cache-control")), (400, "no-store"));
}

/// RFC 7009 §2.3, Fetch: a page of a listed origin can revoke and read the answer; another's can
/// neither. [R-21] [C-13]
#[tokio::test]
async fn a_page_of_a_listed_origin_can_revoke() {
    let good = "https://good.example";
    let jeton = Jeton::start_with(ENGINE, &["--cors-origin", good]).await;
    let token = jeton.login_through("spa", "").await.refresh_token();
    let preflight = |origin: &str| {
        jeton
            .request("OPTIONS", "/revoke")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "authorization,content-type")
    };
    for foreign in ["https://evil.example", "null", "http://good.example"] {
        let asked = preflight(foreign).send().await;
        assert!(!asked.has("access-control-allow-origin"), "{foreign}");
        let post: Request = jeton.revoking("spa", &token).header("Origin", foreign);
        let reply = post.send().await;
        reply.assert_error(403, "invalid_request");
        assert!(!reply.has("access-control-allow-origin"), "{foreign}");
    }
    assert_eq!(jeton.sessions().await.len(), 1);
    let asked = preflight(good).send().await;
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, good));
    assert!(asked.header("access-control-allow-methods").contains("POST"));
    for (status, request) in
        [(400, jeton.revoking("spa", "")), (200, jeton.revoking("spa", &token))]
    {
        let reply = request.header("Origin", good).send().await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (status, good));
        assert!(reply.header("vary").eq_ignore_ascii_case("origin"));
    }
    assert_eq!(jeton.sessions().await.len(), 0);
}
