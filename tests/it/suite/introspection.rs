//! Introspection (RFC 7662): who may ask, how, and what is said. Forgeries are in
//! `forged_token.rs`.

use serde_json::json;

use super::*;
use crate::harness::forge::claims;
use crate::harness::{Engine, Request};

const INACTIVE: &str = r#"{"active":false}"#;
const API1: &str = "https://api1.example";
const API2: &str = "https://api2.example";

/// Introspects as `rs1`, with further parameters such as `&x=y`.
async fn introspect(jeton: &Jeton, token: &str, further: &str) -> Reply {
    let form = format!("token={}{further}", percent_encode(token));
    jeton.post_as("rs1", "/introspect", &form).send().await
}

/// RFC 7662 §2.1, §2.3 and §4: only a confidential client that proves who it is may ask; a name, a
/// token of whatever kind or place, or a disabled client's secret prove nothing. [I-07] [I-08]
/// [I-09] [I-43]
#[tokio::test]
async fn a_caller_must_authenticate() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    let form = format!("token={token}");
    let post = |target: &str, further: &str| jeton.post(target, &format!("{form}{further}"));
    let secret = jeton.fixtures.secret("rs1");
    let query = format!("/introspect?client_id=rs1&client_secret={secret}");
    for (name, request) in [
        ("nothing", post("/introspect", "")),
        ("a public client", post("/introspect", "&client_id=spa")),
        ("a public client by Basic", post("/introspect", "").basic("spa", "")),
        ("a name", post("/introspect", "&client_id=rs1")),
        ("a wrong secret", post("/introspect", "").basic("rs1", "wrong")),
        ("a wrong secret in the form", post("/introspect", "&client_id=rs1&client_secret=x")),
        ("another's secret", post("/introspect", "").basic("rs2", secret)),
        ("an unknown client", post("/introspect", "").basic("nobody", secret)),
        ("a secret in the query", post(&query, "")),
        ("bearer", post("/introspect", "").header("Authorization", &format!("Bearer {token}"))),
        ("bearer in the form", post("/introspect", &format!("&access_token={token}"))),
        ("bearer in the query", post(&format!("/introspect?access_token={token}"), "")),
    ] {
        let reply = request.send().await;
        assert_eq!(reply.status, 401, "{name}");
        reply.assert_error(401, "invalid_client");
        assert!(reply.header("www-authenticate").starts_with("Basic realm="), "{name}");
    }
    assert!(jeton.is_active(&token).await);
    jeton.command("client disable rs1").await;
    introspect(&jeton, &token, "").await.assert_error(401, "invalid_client");
}

/// RFC 7662 §4: the right to introspect is one of its own, apart from the right to tokens: who has
/// one has not the other. [I-10] [I-39]
#[tokio::test]
async fn introspecting_and_getting_tokens_are_different_rights() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    for token in [token.as_str(), "garbage"] {
        let form = format!("token={token}");
        let reply = jeton.post_as("web", "/introspect", &form).send().await;
        reply.assert_error(403, "unauthorized_client");
    }
    jeton.login_through("rs1", "").await.assert_error(400, "unauthorized_client");
}

/// RFC 7662 §2.1 and §4: a POST with a form, in which the token stands once; a GET would leave it
/// in logs. [I-01] [I-02] [I-03]
#[tokio::test]
async fn the_token_is_posted_in_a_form() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    assert_eq!(introspect(&jeton, &token, "").await.json()["active"], true);

    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let target = format!("/introspect?token={token}");
        let request = jeton.request(method, &target);
        let reply = request.basic("rs1", jeton.fixtures.secret("rs1")).send().await;
        assert_eq!((reply.status, reply.header("allow")), (405, "POST, OPTIONS"), "{method}");
        assert!(!String::from_utf8_lossy(&reply.content).contains("active"), "{method}");
    }
    let twice = format!("token={token}&token={token}");
    for form in ["", "token=", "token", "tok=x", "Token=x", twice.as_str(), "token=&token=x"] {
        let reply = jeton.post_as("rs1", "/introspect", form).send().await;
        assert_eq!(reply.status, 400, "{form}");
        reply.assert_error(400, "invalid_request");
    }
}

/// RFC 7662 §2.1, RFC 6749 §3.2 and Appendix B: the form is read as strictly as a token request.
/// [I-04]
#[tokio::test]
async fn the_form_is_read_as_strictly_as_at_the_token_endpoint() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    let form = format!("token={token}");
    for further in [
        "&token_type_hint=a&token_type_hint=a",
        "&tok%65n=x",
        "&client_id=rs1&client_id=rs1",
        "&token_type_hint=%",
        "&x=%zz",
        "&x=%FF",
        "&x=%ED%A0%80",
        "&token_type_hint=%00",
        &"&a=b".repeat(100),
        &format!("&token_type_hint={}", "x".repeat(129)),
    ] {
        let reply = jeton.post_as("rs1", "/introspect", &format!("{form}{further}")).send().await;
        assert_eq!(reply.status, 400, "{further}");
        reply.assert_error(400, "invalid_request");
    }
    let request = jeton.post_as("rs1", "/introspect", &form);
    let other_type =
        |value: &str| request.clone().without("Content-Type").header("Content-Type", value);
    for (name, wrong) in [
        ("JSON", other_type("application/json").content(json!({"token": token}).to_string())),
        ("multipart", other_type("multipart/form-data; boundary=x")),
        ("plain text", other_type("text/plain")),
        ("a list", other_type("application/x-www-form-urlencoded, text/plain")),
        ("no type", request.clone().without("Content-Type")),
        ("two types", request.clone().header("Content-Type", "application/json")),
        ("gzip", request.clone().header("Content-Encoding", "gzip")),
        ("the token in the query", jeton.post_as("rs1", &format!("/introspect?{form}"), "a=b")),
    ] {
        let reply = wrong.send().await;
        assert_eq!(reply.status, 400, "{name}");
        reply.assert_error(400, "invalid_request");
    }
    for (name, right) in [
        (
            "a parameter of the type",
            other_type("Application/X-WWW-Form-URLEncoded; charset=latin1"),
        ),
        ("empty pairs", request.clone().content(format!("&&{form}&"))),
        ("an escaped name", request.clone().content(format!("t%6Fken={token}"))),
        ("chunks", request.clone().chunked()),
        ("an empty hint", request.clone().content(format!("{form}&token_type_hint="))),
        ("a query", jeton.post_as("rs1", "/introspect?x=1&token=x", &form)),
    ] {
        assert_eq!(right.send().await.json()["active"], true, "{name}");
    }
}

/// RFC 7662 §2.1, RFC 9110 §12.5.1: neither hints, right or wrong, nor parameters or media types
/// that are not known here change the answer. [I-05] [I-06] [I-41] [IJ-08]
#[tokio::test]
async fn hints_and_what_is_not_known_do_not_change_the_answer() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    let plain = introspect(&jeton, &token, "").await;
    assert_eq!(plain.json()["active"], true);
    for further in [
        "&token_type_hint=access_token",
        "&token_type_hint=refresh_token",
        "&token_type_hint=foo",
        "&resource_id=x",
        "&x=1&x=2",
        "&resource=https%3A%2F%2Fapi2.example&scope=x",
    ] {
        let reply = introspect(&jeton, &token, further).await;
        assert_eq!(reply.comparable(), plain.comparable(), "{further}");
    }
    for accepted in ["application/token-introspection+jwt", "text/html", "image/png;q=0"] {
        let request = jeton.post_as("rs1", "/introspect", &format!("token={token}"));
        let reply = request.header("Accept", accepted).send().await;
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.comparable(), plain.comparable(), "{accepted}");
    }
}

/// RFC 7662 §2.2: an active token is described by registered members, each of its type and equal to
/// the token's own claim; no cache may keep it. [I-13] [I-25] [I-26] [I-28] [I-29] [I-30] [I-32]
/// [I-34]
#[tokio::test]
async fn an_active_token_is_described_as_it_is() {
    let jeton = jeton().await;
    let both = format!("&scope=read+write&resource={API1}&resource={API2}");
    for (client, further) in [("web", ""), ("web", both.as_str()), ("claims", "")] {
        let token = jeton.login_through(client, further).await.access_token();
        let reply = introspect(&jeton, &token, "").await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
        assert_eq!(reply.header("cache-control"), "no-store");
        let (answer, claims) = (reply.json(), claims(&token));
        let own: Vec<&String> = claims.as_object().expect("an object").keys().collect();
        assert_eq!(own.len(), if client == "claims" { 13 } else { 11 }, "{claims}");
        for name in &own {
            assert_eq!(answer[name], claims[name], "{client} {name}");
        }
        assert_eq!(answer["active"], json!(true));
        assert_eq!(answer["client_id"], client);
        assert_eq!(answer["token_type"], "Bearer");
        for name in ["scope", "iss", "jti", "sub", "client_id"] {
            assert!(answer[name].is_string(), "{name}");
        }
        for name in ["exp", "iat", "auth_time"] {
            assert!(answer[name].is_i64(), "{name}");
        }
        assert!(answer["aud"].is_string() || answer["aud"][0].is_string());
        let mut expected: Vec<&str> = own.iter().map(|name| name.as_str()).collect();
        expected.extend(["active", "token_type", "username"]);
        expected.sort_unstable();
        let mut members: Vec<_> = answer.as_object().expect("an object").keys().collect();
        members.sort_unstable();
        assert_eq!(members, expected);
    }
}

/// RFC 7662 §2.2 and §5: the user's name for people is `username`, and only for callers that are
/// configured to get it; `sub` is the machine's name. [I-27] [I-33]
#[tokio::test]
async fn only_a_configured_caller_is_told_the_users_name() {
    let jeton = jeton().await;
    let further = format!("&resource={API1}&resource={API2}");
    let token = jeton.login_through("web", &further).await.access_token();
    let told = jeton.introspect_as("rs1", &token).await;
    assert_eq!((&told["username"], &told["sub"]), (&json!("alice"), &claims(&token)["sub"]));
    let untold = jeton.introspect_as("rs2", &token).await;
    assert_eq!((&untold["active"], &untold["sub"]), (&json!(true), &told["sub"]));
    assert!(!untold.to_string().contains("alice"), "{untold}");
}

/// RFC 7662 §2.2, §2.3 and §4: whatever makes a token unusable for the caller, the answer is the
/// same to the octet, headers included, and no error. [I-14] [I-15] [I-20] [I-21]
#[tokio::test]
async fn every_inactive_token_looks_like_one_that_never_was() {
    let jeton = jeton().await;
    let plain = introspect(&jeton, "x", "").await;
    assert_eq!((plain.status, plain.text()), (200, INACTIVE));

    let foreign = jeton.login_through("web", &format!("&resource={API2}")).await.access_token();
    assert_eq!(jeton.introspect_as("rs2", &foreign).await["active"], true);
    let expired = jeton.login_through("claims", "").await.access_token();
    assert!(jeton.is_active(&expired).await);
    jeton.clock.advance(120);
    let of_disabled = jeton.token(&login_form("bob", PASSWORD)).await.access_token();
    assert!(jeton.is_active(&of_disabled).await);
    jeton.command("user disable bob").await;
    let good = jeton.access_token().await;
    let altered = good.replace("eyJ", "eyK");
    assert_ne!(altered, good);
    for (name, token) in [
        ("another's", foreign.as_str()),
        ("expired", &expired),
        ("a disabled user's", &of_disabled),
        ("altered", &altered),
        ("cut", &good[..good.len() - 1]),
        ("an identifier of the session", claims(&good)["sid"].as_str().expect("text")),
        ("an identifier of the token", claims(&good)["jti"].as_str().expect("text")),
    ] {
        let reply = introspect(&jeton, token, "").await;
        assert_eq!(reply.text(), INACTIVE, "{name}");
        assert_eq!(reply.comparable(), plain.comparable(), "{name}");
    }
    assert!(jeton.is_active(&good).await);
}

/// RFC 7662 §4, RFC 7519 §4.1.4: active until the second before `exp`, and not at `exp`. [I-16]
#[tokio::test]
async fn a_token_ends_exactly_at_exp() {
    let jeton = jeton().await;
    for (client, lifetime) in [("web", 600), ("claims", 120)] {
        let token = jeton.login_through(client, "").await.access_token();
        jeton.clock.advance(lifetime - 1);
        assert_eq!(claims(&token)["exp"], jeton.clock.now().0 + 1);
        assert!(jeton.is_active(&token).await, "{client} a second before");
        jeton.clock.advance(1);
        assert!(!jeton.is_active(&token).await, "{client} at exp");
    }
}

/// RFC 7662 §4: what an operator ends is inactive with the next question, whichever replica is
/// asked, and whichever way it was ended. Other ways are in `revocation.rs`, `refresh_reuse.rs` and
/// `session_ends.rs`. [I-18]
#[tokio::test]
async fn what_was_ended_is_inactive_on_every_replica_at_once() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    for (username, client, command) in [
        ("alice", "web", "user disable alice"),
        ("bob", "web", "user delete bob --yes"),
        ("zo\u{e9}", "web", "client disable web"),
        ("zo\u{e9}", "other", "client delete other --yes"),
        ("zo\u{e9}", "claims", ""),
    ] {
        let password = if username == "zo\u{e9}" { PASSWORD_OF_ZOE } else { PASSWORD };
        let form = login_form(username, password);
        let token = jeton.post_as(client, "/token", &form).send().await.access_token();
        let form = format!("token={token}");
        let there = Request::new(replica.public, "POST", "/introspect").form(&form);
        let there = there.basic("rs1", jeton.fixtures.secret("rs1"));
        assert_eq!(there.send().await.json()["active"], true, "before {command}");
        assert!(jeton.is_active(&token).await, "before {command}");
        if command.is_empty() {
            let sid = claims(&token)["sid"].as_str().expect("text").to_owned();
            jeton.command(&format!("session revoke {sid}")).await;
        } else {
            jeton.command(command).await;
        }
        assert_eq!(there.send().await.text(), INACTIVE, "{command}");
        assert!(!jeton.is_active(&token).await, "{command}");
    }
}

/// RFC 7662 §4: what the service cannot know it does not say: without its database it answers 503
/// and when to come back, neither active nor inactive. [I-37]
#[tokio::test]
async fn an_outage_is_neither_active_nor_inactive() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let token = jeton.access_token().await;
    // Also notes the use of the secret, which would have to wait for a write lock.
    let before = introspect(&jeton, &token, "").await;
    assert_eq!(before.json()["active"], true);
    outage.begin();
    let forms = [token.as_str(), "garbage"];
    for token in forms {
        let reply = introspect(&jeton, token, "").await;
        match ENGINE {
            Engine::Postgres => {
                reply.assert_error(503, "temporarily_unavailable");
                assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|wait| wait > 0));
                assert!(!reply.text().contains("active"));
            }
            // A held write lock stops no reader: the answer stays exact.
            Engine::Sqlite if token == "garbage" => assert_eq!(reply.text(), INACTIVE),
            Engine::Sqlite => assert_eq!(reply.comparable(), before.comparable()),
        }
    }
    outage.end();
    assert_eq!(introspect(&jeton, &token, "").await.comparable(), before.comparable());
    assert_eq!(introspect(&jeton, "garbage", "").await.text(), INACTIVE);
}

/// RFC 7662 §2: to ask is not to use: however often, the answer and the database stay as they are (but for
/// the note that the caller's secret was used), and the refresh token of the session works. [I-40]
#[tokio::test]
async fn introspection_changes_nothing() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    let token = login.access_token();
    let first = introspect(&jeton, &token, "").await;
    let before = jeton.database.dump().await;
    for _ in 0..1_000 {
        let reply = introspect(&jeton, &token, "").await;
        assert_eq!(reply.comparable(), first.comparable());
    }
    assert_eq!(jeton.database.dump().await, before);
    jeton.refresh("web", &login.refresh_token(), "").await.refresh_token();
}
