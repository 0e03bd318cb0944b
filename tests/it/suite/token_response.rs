//! The successful token response (RFC 6749 §5.1).

use super::*;
use crate::harness::forge::claims;
use crate::harness::{Database, Executable};

/// RFC 6749 §5.1, RFC 8259: the response is plain JSON with these members and no others, typed as
/// the RFC has them, never null; it is stored nowhere and sets no cookie. A client without refresh
/// tokens gets no such member.
/// [TK-01] [TK-02] [TK-03] [TK-05] [TK-07] [TK-08] [TK-09] [TK-10] [TK-11] [TK-12] [TK-13] [TG-18]
#[tokio::test]
async fn a_token_response_has_the_shape_of_the_rfc() {
    let jeton = jeton().await;
    let spa = login_form("alice", PASSWORD) + "&client_id=spa";
    let web = "&scope=read+write+admin&resource=https%3A%2F%2Fapi1.example";
    for (case, reply) in [
        ("web", jeton.login_through("web", web).await),
        ("norefresh", jeton.login_through("norefresh", "").await),
        ("claims", jeton.login_through("claims", "").await),
        ("spa", jeton.post("/token", &spa).send().await),
    ] {
        let token = reply.access_token();
        assert_eq!(reply.header("content-type"), "application/json", "{case}");
        assert_eq!(reply.header("cache-control"), "no-store", "{case}");
        assert_eq!(reply.header("pragma"), "no-cache", "{case}");
        for absent in ["set-cookie", "etag", "last-modified", "expires", "www-authenticate"] {
            assert!(!reply.has(absent), "{case}: {absent}");
        }
        assert_eq!(reply.content.first(), Some(&b'{'), "{case}: no byte order mark");
        // `json` panics on what is no UTF-8 and on members that repeat.
        let body = reply.json();
        let mut members: Vec<_> = body.as_object().expect("an object").keys().collect();
        members.sort_unstable();
        let mut expected = vec!["access_token", "expires_in", "scope", "token_type"];
        if case != "norefresh" {
            expected.insert(2, "refresh_token");
            let refresh_token = body["refresh_token"].as_str().expect("a string");
            assert!(refresh_token.bytes().all(|octet| (0x21..=0x7e).contains(&octet)), "{case}");
        }
        assert_eq!(members, expected, "{case}");
        assert_eq!(body["token_type"], "Bearer", "{case}");
        assert!(body["expires_in"].is_u64() && body["scope"].is_string(), "{case}");
        // RFC 6749 Appendix A.12: VSCHAR. Common servers take 8 KiB for all headers together.
        assert!((1..=4_096).contains(&token.len()), "{case}: {}", token.len());
        assert!(token.bytes().all(|octet| (0x21..=0x7e).contains(&octet)), "{case}");
    }
}

/// RFC 6749 §5.1, §10.7, RFC 6750 §5.3: `expires_in` counts from the response and says what the
/// token says: ten minutes, or what the service or the client is set to, never above an hour; each
/// token has an audience. [TK-04] [TK-14] [TG-19]
#[tokio::test]
async fn tokens_live_as_long_as_the_response_says_and_not_long() {
    let short = Jeton::start_with(ENGINE, &["--access-token-lifetime", "90s"]).await;
    let jeton = jeton().await;
    for (service, client, lifetime) in [
        (&jeton, "web", 600),
        (&jeton, "claims", 120),
        (&short, "web", 90),
        (&short, "claims", 120),
    ] {
        service.clock.advance(7);
        let reply = service.login_through(client, "").await;
        let claims = claims(&reply.access_token());
        assert_eq!(reply.json()["expires_in"], lifetime, "{client}");
        assert_eq!(claims["iat"], service.clock.now().0, "{client}");
        assert_eq!(claims["exp"], service.clock.now().0 + lifetime, "{client}");
        assert!(!claims["aud"].is_null(), "{client}");
    }
    assert!(
        !jeton.try_add_client("long", &["--scope", "x", "--access-token-lifetime", "61m"]).await
    );
    assert!(
        jeton.try_add_client("long", &["--scope", "x", "--access-token-lifetime", "60m"]).await
    );
}

/// RFC 9110 §13, RFC 9111 §5.2.2.5: a token request is answered in full whatever the caller claims
/// to have; so is an error. [TK-16]
#[tokio::test]
async fn a_condition_never_makes_a_304() {
    let jeton = jeton().await;
    let right = login_form("alice", PASSWORD);
    for (name, value) in [
        ("If-None-Match", "*"),
        ("If-Match", "\"x\""),
        ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Range", "bytes=0-1"),
    ] {
        let reply = jeton.post_as("web", "/token", &right).header(name, value).send().await;
        assert!(!reply.access_token().is_empty(), "{name}");
        let reply = jeton.post_as("web", "/token", "").header(name, value).send().await;
        reply.assert_error(400, "invalid_request");
    }
}

/// RFC 9068 §2.2, RFC 6749 §10.10: the same request in the same second gives other tokens.
/// [TG-25]
#[tokio::test]
async fn every_success_gives_tokens_of_its_own() {
    let jeton = jeton().await;
    let (first, second) = (jeton.access_token().await, jeton.access_token().await);
    assert_ne!(first, second);
    let (first, second) = (claims(&first), claims(&second));
    assert_eq!(first["iat"], second["iat"]);
    for name in ["jti", "sid"] {
        assert!(first[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        assert_ne!(first[name], second[name], "{name}");
    }
}

/// ASVS 2.3.3: a token that was answered survives the death of the process at that moment.
/// [TK-15]
#[tokio::test]
async fn a_token_that_was_answered_is_durable() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let login = crate::harness::Request::new(service.public, "POST", "/token")
        .form(&(login_form("alice", PASSWORD) + "&client_id=spa"));
    let token = login.send().await.access_token();
    service.signal("KILL");
    assert_eq!(service.wait(), None);

    let service = Executable::serve_on(&database, fixtures, &[]);
    let introspect = crate::harness::Request::new(service.public, "POST", "/introspect")
        .basic("rs1", fixtures.secret("rs1"))
        .form(&format!("token={token}"));
    let answer = introspect.send().await.json();
    assert_eq!((&answer["active"], &answer["sub"]), (&true.into(), &fixtures.sub("alice").into()));
}
