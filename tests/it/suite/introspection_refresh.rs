//! Introspection of refresh tokens (RFC 7662 §2.2): told to the client they belong to, and to no one
//! else.

use serde_json::json;

use super::*;
use crate::harness::RefreshToken;
use crate::harness::forge::claims;

const INACTIVE: &str = r#"{"active":false}"#;
const API1: &str = "https://api1.example";
const API2: &str = "https://api2.example";

/// A service whose clients `web` and `other` may introspect.
async fn jeton_with_introspecting_clients() -> Jeton {
    let jeton = jeton().await;
    for client in ["web", "other"] {
        jeton.command(&format!("client set {client} --introspects {API1}")).await;
    }
    jeton
}

async fn introspect(jeton: &Jeton, client_id: &str, token: &str) -> Reply {
    let form = format!("token={}", percent_encode(token));
    jeton.post_as(client_id, "/introspect", &form).send().await
}

/// RFC 7662 §2.2: a client sees its own refresh token as what it is: of whom, for what, since when and
/// until when. It has neither the type nor the name of an access token. [I-24]
#[tokio::test]
async fn a_client_sees_its_own_refresh_token() {
    let jeton = jeton_with_introspecting_clients().await;
    let begin = jeton.clock.now().0;
    let further = format!("&scope=read+write&resource={API1}&resource={API2}");
    let login = jeton.login_through("web", &further).await;
    let mut expected = json!({
        "active": true,
        "client_id": "web",
        "sub": jeton.fixtures.sub("alice"),
        "scope": "read write",
        "iss": jeton.service.issuer.as_str(),
        "aud": [API1, API2],
        "auth_time": begin,
        "amr": ["pwd"],
        "iat": begin,
        "exp": begin + 14 * 86_400,
        "sid": claims(&login.access_token())["sid"],
    });
    let reply = introspect(&jeton, "web", &login.refresh_token()).await;
    assert_eq!(reply.json(), expected);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "no-store");

    jeton.clock.advance(10 * 86_400);
    jeton.command("client set web --introspects-username").await;
    let reply = jeton.refresh("web", &login.refresh_token(), "&scope=read").await;
    let reply = introspect(&jeton, "web", &reply.refresh_token()).await;
    let now = jeton.clock.now().0;
    expected["iat"] = json!(now);
    expected["exp"] = json!(now + 14 * 86_400);
    expected["username"] = json!("alice");
    assert_eq!(reply.json(), expected);

    let login = jeton.login_through("web", "").await;
    let reply = introspect(&jeton, "web", &login.refresh_token()).await;
    assert_eq!((&reply.json()["aud"], &reply.json()["scope"]), (&json!(API1), &json!("read")));
}

/// RFC 7662 §4, §2.2; RFC 6749 §10.4: to a resource server, and to another client, a refresh token
/// looks like one that never was, so no one can mistake it for an access token. [I-24]
#[tokio::test]
async fn a_refresh_token_is_told_to_its_own_client_only() {
    let jeton = jeton_with_introspecting_clients().await;
    let further = format!("&resource={API1}&resource={API2}");
    for client in ["web", "spa"] {
        let token = jeton.login_through(client, &further).await.refresh_token();
        for caller in ["rs1", "rs2", "other"] {
            let unknown = introspect(&jeton, caller, "x").await;
            assert_eq!(unknown.text(), INACTIVE);
            for hint in ["", "&token_type_hint=refresh_token", "&token_type_hint=access_token"] {
                let form = format!("token={token}{hint}");
                let reply = jeton.post_as(caller, "/introspect", &form).send().await;
                assert_eq!(reply.comparable(), unknown.comparable(), "{caller} {client}");
            }
        }
    }
    // Without the right to introspect a client is told nothing, not even of its own.
    for (client, status, code) in
        [("basic-only", 403, "unauthorized_client"), ("spa", 401, "invalid_client")]
    {
        let token = jeton.login_through(client, "").await.refresh_token();
        introspect(&jeton, client, &token).await.assert_error(status, code);
    }
}

/// RFC 7662 §4: a refresh token that was rotated away is inactive at once, and to ask about it is not
/// to use it: neither is the session ended nor the answer kept from anyone who may retry. [I-23]
#[tokio::test]
async fn asking_about_a_rotated_token_ends_nothing() {
    let jeton = jeton_with_introspecting_clients().await;
    let login = jeton.login_through("web", "").await.refresh_token();
    let second = jeton.refresh("web", &login, "").await.refresh_token();
    let third = jeton.refresh("web", &second, "").await.refresh_token();
    let before = jeton.sessions().await;
    for passed in [0, 29, 1, 3_600] {
        jeton.clock.advance(passed);
        for rotated in [&login, &second] {
            assert_eq!(introspect(&jeton, "web", rotated).await.text(), INACTIVE, "{passed}");
        }
        assert_eq!(introspect(&jeton, "web", &third).await.json()["active"], true, "{passed}");
    }
    assert_eq!(jeton.sessions().await, before);
    let fourth = jeton.refresh("web", &third, "").await.refresh_token();
    assert_eq!(introspect(&jeton, "web", &third).await.text(), INACTIVE);
    assert_eq!(jeton.refresh("web", &third, "").await.refresh_token(), fourth);
}

/// RFC 7662 §2: to ask is not to use: the lifetime is not extended, nothing is written, and the token
/// is as good as before. [I-40]
#[tokio::test]
async fn asking_about_a_refresh_token_changes_nothing() {
    let jeton = jeton_with_introspecting_clients().await;
    let token = jeton.login_through("web", "").await.refresh_token();
    let first = introspect(&jeton, "web", &token).await;
    let before = jeton.sessions().await;
    for passed in [0, 1, 86_400, 13 * 86_400 - 2] {
        jeton.clock.advance(passed);
        for _ in 0..100 {
            assert_eq!(introspect(&jeton, "web", &token).await.comparable(), first.comparable());
        }
    }
    assert_eq!(jeton.sessions().await, before);
    jeton.refresh("web", &token, "").await.refresh_token();
}

/// RFC 7662 §2.2, §4: whatever makes a refresh token unusable, the answer is the same to the octet.
#[tokio::test]
async fn every_unusable_refresh_token_is_inactive() {
    let jeton = jeton_with_introspecting_clients().await;
    let login = async || jeton.login_through("web", "").await.refresh_token();
    let bob = jeton.token(&login_form("bob", PASSWORD)).await.refresh_token();
    jeton.command("user disable bob").await;
    let revoked = login().await;
    jeton.revoke("web", &revoked).await;
    let reused = login().await;
    let second = jeton.refresh("web", &reused, "").await.refresh_token();
    let third = jeton.refresh("web", &second, "").await.refresh_token();
    // Later than a tab that is late.
    jeton.clock.advance(11);
    jeton.refresh("web", &reused, "").await.assert_error(400, "invalid_grant");
    let good = login().await;
    let mut forged = RefreshToken::of(&good);
    forged.mac[0] ^= 1;
    let mut ahead = RefreshToken::of(&good);
    ahead.generation = 7;
    for (case, token) in [
        ("of a disabled user", bob),
        ("revoked", revoked),
        ("of a session ended by reuse", third),
        ("reused", reused),
        ("forged", forged.join()),
        ("of another generation", ahead.join()),
        ("padded", format!("{good}=")),
        ("cut", good[..87].to_owned()),
        ("with a space", format!(" {good}")),
    ] {
        assert_eq!(introspect(&jeton, "web", &token).await.text(), INACTIVE, "{case}");
    }
    assert_eq!(introspect(&jeton, "web", &good).await.json()["active"], true);
    jeton.clock.advance(14 * 86_400);
    assert_eq!(introspect(&jeton, "web", &good).await.text(), INACTIVE, "expired");
}
