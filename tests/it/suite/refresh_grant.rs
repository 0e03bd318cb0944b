//! The refresh grant (RFC 6749 §6): what is asked and what is answered. Who may ask is in
//! `refresh_client.rs`, scope and resources in `refresh_scope.rs`, rotation and reuse in
//! `refresh_reuse.rs`, forgeries in `refresh_forged.rs`.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;
use crate::harness::forge::claims;
use crate::harness::{RefreshToken, Request, refresh_form};

const API1: &str = "https://api1.example";

/// Logs alice in through `web` and returns the refresh token.
async fn refresh_token(jeton: &Jeton) -> String {
    jeton.login_through("web", "").await.refresh_token()
}

/// RFC 6749 §6, §5.1; RFC 9700 §4.14.2: the token gives another access token and another refresh
/// token, for a confidential client and for a public one, and costs no hash.
/// [TR-01] [TR-11] [S-08]
#[tokio::test]
async fn a_refresh_token_gives_new_tokens() {
    let jeton = jeton().await;
    for client in ["web", "spa", "basic-only"] {
        let login = jeton.login_through(client, "").await;
        let mut seen = HashSet::from([login.refresh_token(), login.access_token()]);
        let mut token = login.refresh_token();
        let hashed = jeton.passwords_verified().await;
        for _ in 0..3 {
            let reply = jeton.refresh(client, &token, "").await;
            token = reply.refresh_token();
            assert!(seen.insert(token.clone()) && seen.insert(reply.access_token()), "{client}");
            assert!(jeton.is_active(&reply.access_token()).await, "{client}");

            let body = reply.json();
            let mut members: Vec<_> = body.as_object().expect("an object").keys().collect();
            members.sort_unstable();
            let all = ["access_token", "expires_in", "refresh_token", "scope", "token_type"];
            assert_eq!(members, all, "{client}");
            assert_eq!(body["token_type"], "Bearer");
            assert_eq!((&body["scope"], &body["expires_in"]), (&"read".into(), &600.into()));
            assert_eq!(reply.header("content-type"), "application/json");
            assert_eq!(reply.header("cache-control"), "no-store");
            assert_eq!(reply.header("pragma"), "no-cache");
        }
        assert_eq!(jeton.passwords_verified().await, hashed, "{client}");
    }
}

/// RFC 9068 §2.2, §2.2.1: what a refreshed token says of the login stays: who, through which client,
/// when. What it says of itself is new. [TR-29] [J-24] [J-21]
#[tokio::test]
async fn a_refreshed_token_tells_of_the_same_login() {
    let jeton = jeton().await;
    for client in ["web", "claims"] {
        let mut reply = jeton.login_through(client, "").await;
        let first = claims(&reply.access_token());
        let mut ids = HashSet::from([first["jti"].to_string()]);
        for passed in [0, 1, 86_400] {
            jeton.clock.advance(passed);
            reply = jeton.refresh(client, &reply.refresh_token(), "").await;
            let mut own = claims(&reply.access_token());
            assert!(ids.insert(own["jti"].to_string()), "{client}");
            assert_eq!(own["iat"], jeton.clock.now().0, "{client}");
            let lifetime = reply.json()["expires_in"].as_i64().expect("an integer");
            assert_eq!(own["exp"], jeton.clock.now().0 + lifetime, "{client}");
            for new in ["jti", "iat", "exp"] {
                own[new] = first[new].clone();
            }
            assert_eq!(own, first, "{client}");
        }
    }
}

/// RFC 6749 §10.10, Appendix A.17: a refresh token is 88 characters that need no encoding. The
/// session in it has 128 random bits, and its code of 256 bits follows no pattern that is seen.
/// [TR-24] [TR-25] [S-01]
#[tokio::test]
async fn refresh_tokens_are_long_plain_and_unpredictable() {
    let jeton = jeton().await;
    let mut token = refresh_token(&jeton).await;
    let first = RefreshToken::of(&token);
    let mut codes = HashSet::new();
    let (mut ever_set, mut ever_clear) = ([0_u8; 32], [0_u8; 32]);
    for generation in 0..128 {
        assert_eq!(token.len(), 88);
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"_-".contains(&octet);
        assert!(token.bytes().all(plain), "{token}");
        let parts = RefreshToken::of(&token);
        assert_eq!((parts.version, parts.generation), (1, generation));
        assert_eq!((&parts.key, &parts.session), (&first.key, &first.session));
        for ((set, clear), octet) in ever_set.iter_mut().zip(&mut ever_clear).zip(&parts.mac) {
            *set |= octet;
            *clear |= !octet;
        }
        assert!(codes.insert(parts.mac));
        token = jeton.refresh("web", &token, "").await.refresh_token();
    }
    assert_eq!((ever_set, ever_clear), ([0xff; 32], [0xff; 32]), "every bit varies");

    // Logins take too long for this many; the service names its sessions with this function.
    let sessions: HashSet<String> =
        (0..100_000).map(|_| jeton_crypto::random::session_id().to_string()).collect();
    assert_eq!(sessions.len(), 100_000);
    let other = RefreshToken::of(&refresh_token(&jeton).await);
    assert_ne!(other.session, first.session);
    assert_ne!(other.mac, first.mac);
}

/// RFC 6749 §6, §3.2, §5.2: without a refresh token, or with an empty one, the request is malformed,
/// whatever else is in it. [TR-02] [TP-15]
#[tokio::test]
async fn the_refresh_token_is_required() {
    let jeton = jeton().await;
    let token = refresh_token(&jeton).await;
    for further in [
        String::new(),
        "&refresh_token=".to_owned(),
        "&refresh_token".to_owned(),
        format!("&Refresh_Token={token}"),
        format!("&token={token}"),
        format!("&username=alice&password={}", percent_encode(PASSWORD)),
    ] {
        let reply = jeton.token(&format!("grant_type=refresh_token{further}")).await;
        assert_eq!(reply.error(), "invalid_request", "{further}");
        reply.assert_error(400, "invalid_request");
        let expected = "The parameter refresh_token is missing or empty.";
        assert_eq!(reply.member("error_description"), expected, "{further}");
    }
    // Not from the URI either, which is logged.
    let target = format!("/token?refresh_token={token}");
    let reply = jeton.post_as("web", &target, "grant_type=refresh_token").send().await;
    reply.assert_error(400, "invalid_request");
    jeton.refresh("web", &token, "").await.refresh_token();
}

/// RFC 6749 §5.2, §1.5: a refresh token that is unknown, malformed, expired, revoked, another's, or
/// no refresh token at all, is the same error to the octet; only a value that no token could have is
/// refused as such. [TR-06] [TR-07]
#[tokio::test]
async fn every_bad_refresh_token_looks_like_one_that_never_was() {
    let jeton = jeton().await;
    let expected = jeton.refresh("web", "x", "").await;
    expected.assert_error(400, "invalid_grant");
    let login = jeton.login_through("web", "").await;
    let revoked = refresh_token(&jeton).await;
    jeton.revoke("web", &revoked).await;
    let bob = jeton.token(&login_form("bob", PASSWORD)).await.refresh_token();
    jeton.command("user disable bob").await;
    let foreign = jeton.login_through("other", "").await.refresh_token();
    let mut random = RefreshToken::of(&revoked);
    random.session = jeton_crypto::random::session_id().to_string();
    random.mac = jeton_crypto::random::octets::<32>().to_vec();
    let expired = refresh_token(&jeton).await;
    for (case, token) in [
        ("random text", "tGzv3JOkF0XG5Qx2TlKWIA"),
        ("random octets", &random.join()),
        ("not ASCII", "\u{1f511}"),
        ("the longest", &"A".repeat(8_192)),
        ("an access token", &login.access_token()),
        ("the name of a session", claims(&login.access_token())["sid"].as_str().expect("text")),
        ("revoked", &revoked),
        ("of a disabled user", &bob),
        ("another's", &foreign),
        ("a secret of the client", jeton.fixtures.secret("web")),
    ] {
        let reply = jeton.refresh("web", token, "").await;
        assert_eq!(reply.comparable(), expected.comparable(), "{case}");
    }
    jeton.clock.advance(14 * 86_400);
    let reply = jeton.refresh("web", &expired, "").await;
    assert_eq!(reply.comparable(), expected.comparable(), "expired");
    let overlong = jeton.refresh("web", &"A".repeat(8_193), "").await;
    overlong.assert_error(400, "invalid_request");
    let enormous = jeton.refresh("web", &"A".repeat(1 << 20), "").await;
    enormous.assert_error(413, "invalid_request");
}

/// RFC 6749 §6, ASVS 2.3.3: a refresh that is refused, for whatever reason, has used nothing up.
/// [TR-16]
#[tokio::test]
async fn a_failed_refresh_consumes_nothing() {
    let jeton = jeton().await;
    let token = refresh_token(&jeton).await;
    let before = jeton.sessions().await;
    let form = refresh_form(&token);
    let misspelt = jeton.post_as("web", "/token", &form.replacen("_token&", "_tokens&", 1));
    for (case, code, request) in [
        ("scope", "invalid_scope", jeton.refreshing("web", &token, "&scope=write")),
        ("no scope", "invalid_scope", jeton.refreshing("web", &token, "&scope=%22")),
        ("resource", "invalid_target", jeton.refreshing("web", &token, "&resource=x")),
        ("client", "invalid_client", jeton.post("/token", &form).basic("web", "wrong")),
        ("another client", "invalid_grant", jeton.refreshing("other", &token, "")),
        ("without the grant", "unauthorized_client", jeton.refreshing("norefresh", &token, "")),
        ("no grant", "unsupported_grant_type", misspelt),
        ("twice", "invalid_request", jeton.refreshing("web", &token, "&refresh_token=x")),
        ("broken", "invalid_request", jeton.refreshing("web", &token, "&x=%zz")),
        ("large", "invalid_request", jeton.refreshing("web", &token, &"&x=y".repeat(5_000))),
        ("GET", "invalid_request", jeton.request("GET", &format!("/token?{form}"))),
        (
            "a foreign page",
            "invalid_request",
            jeton.refreshing("web", &token, "").header("Origin", "https://evil.example"),
        ),
        (
            "JSON",
            "invalid_request",
            jeton
                .refreshing("web", &token, "")
                .without("Content-Type")
                .header("Content-Type", "application/json"),
        ),
    ] {
        assert_eq!(request.send().await.error(), code, "{case}");
        assert_eq!(jeton.sessions().await, before, "{case}");
    }
    let good = jeton.refresh("web", &token, "").await;
    assert_eq!(RefreshToken::of(&good.refresh_token()).generation, 1);
}

/// RFC 6749 §3.2: parameters of other grants mean nothing here, and no password is looked at.
/// [TR-30]
#[tokio::test]
async fn a_name_and_a_password_are_ignored() {
    let jeton = jeton().await;
    let mut token = refresh_token(&jeton).await;
    for further in [
        "&username=bob".to_owned(),
        format!("&username=bob&password={}", percent_encode(PASSWORD)),
        "&username=alice&password=wrong".to_owned(),
        format!("&token={token}&token_type_hint=access_token&code=x&foo=1&foo=2"),
    ] {
        let reply = jeton.refresh("web", &token, &further).await;
        assert_eq!(claims(&reply.access_token())["sub"], jeton.fixtures.sub("alice"), "{further}");
        assert_eq!(reply.member("scope"), "read", "{further}");
        token = reply.refresh_token();
    }
    assert_eq!(jeton.passwords_verified().await, 1);
}

/// RFC 6749 §5.2, RFC 9110 §15.6.4: an outage is not the token's fault, or clients would throw it
/// away: it is a 503 that says when to come back, and then the same token works. [TR-31]
#[tokio::test]
async fn an_outage_while_refreshing_is_no_invalid_grant() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let token = refresh_token(&jeton).await;
    let before = jeton.sessions().await;
    outage.begin();
    for _ in 0..2 {
        let reply = jeton.refresh("web", &token, "").await;
        reply.assert_error(503, "temporarily_unavailable");
        let seconds: u32 = reply.header("retry-after").parse().expect("whole seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    outage.end();
    assert_eq!(jeton.sessions().await, before);
    let next = jeton.refresh("web", &token, "").await.refresh_token();
    jeton.refresh("web", &next, "").await.refresh_token();
}

/// RFC 6749 §10.4, RFC 6819 §5.1.4.1.3: whoever steals the database finds no refresh token, nor the
/// part of one that makes it valid, and nothing that could be presented as one. [TR-27]
#[tokio::test]
async fn the_database_holds_no_refresh_token() {
    let jeton = jeton().await;
    let mut tokens = vec![refresh_token(&jeton).await];
    for _ in 0..3 {
        let next = jeton.refresh("web", tokens.last().expect("one"), "").await.refresh_token();
        tokens.push(next);
    }
    let dump = jeton.database.dump().await;
    assert!(dump.contains(&RefreshToken::of(&tokens[0]).session), "the session is there");
    for token in &tokens {
        let mac = RefreshToken::of(token).mac;
        let hexadecimal: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
        for absent in [
            token.clone(),
            // The characters that are made of nothing but the code.
            token[46..].to_owned(),
            URL_SAFE_NO_PAD.encode(&mac),
            STANDARD.encode(&mac),
            hexadecimal.concat(),
            hexadecimal.join(", "),
        ] {
            assert!(!dump.contains(&absent) && !dump.contains(&absent.to_uppercase()), "{absent}");
        }
    }
    for cell in jeton.sessions().await.concat().into_iter().flatten() {
        let reply = jeton.refresh("web", &cell, "").await;
        assert!(reply.status == 400 && !reply.text().contains("token\":"), "{cell}");
    }
    jeton.refresh("web", tokens.last().expect("one"), "").await.refresh_token();
}

/// RFC 9068 §2.2.3.1: what a refreshed token says of the user's roles and name is what holds when it
/// is issued.
#[tokio::test]
async fn a_refreshed_token_has_the_present_roles() {
    let jeton = jeton().await;
    let login = jeton.login_through("claims", "").await;
    assert_eq!(claims(&login.access_token())["roles"], serde_json::json!(["user", "editor"]));
    jeton.command("user set alice --role user").await;
    let reply = jeton.refresh("claims", &login.refresh_token(), "").await;
    let claims = claims(&reply.access_token());
    assert_eq!(claims["roles"], serde_json::json!(["user"]));
    assert_eq!(claims["preferred_username"], "alice");
    assert_eq!(claims["aud"], serde_json::json!([API1]));
    assert_eq!(reply.json()["expires_in"], 120);
}

/// The issuer's other replicas take a token that one of them issued, and rotate it as well.
#[tokio::test]
async fn a_refresh_token_works_at_every_replica() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let mut token = refresh_token(&jeton).await;
    for address in [replica.public, jeton.service.public, replica.public, replica.public] {
        let request: Request = jeton.refreshing("web", &token, "").at(address);
        let reply = request.send().await;
        assert!(jeton.is_active(&reply.access_token()).await);
        token = reply.refresh_token();
    }
    assert_eq!(jeton.of_session("generation").await, 4);
}
