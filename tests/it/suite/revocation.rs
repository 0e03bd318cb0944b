//! Revocation (RFC 7009): what ends, and what does not. The form and who may post it are in
//! `revocation_form.rs`.

use josekit::jwk::alg::rsa::RsaKeyPair;
use josekit::jws::{JwsSigner, RS256};
use serde_json::json;

use super::*;
use crate::harness::forge::{ServiceKey, claims, decode, encode};

/// Asserts that a session is over: its refresh token and its access token.
async fn assert_over(jeton: &Jeton, client_id: &str, reply: &Reply, case: &str) {
    let refused = jeton.refresh(client_id, &reply.refresh_token(), "").await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "{case}");
    assert!(!jeton.is_active(&reply.access_token()).await, "{case}");
}

/// RFC 7009 §2, §2.1: a refresh token that is revoked is refused at once, at every replica, and so are
/// the access tokens of its session, and of no other. [R-03] [R-11] [R-12] [R-15] [I-18]
#[tokio::test]
async fn a_revoked_refresh_token_ends_its_session() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let bystanders = [
        ("web", jeton.login_through("web", "").await),
        ("other", jeton.login_through("other", "").await),
        ("web", jeton.token(&login_form("bob", PASSWORD)).await),
    ];
    for client in ["web", "spa"] {
        let login = jeton.login_through(client, "").await;
        let reply = jeton.refresh(client, &login.refresh_token(), "").await;
        assert!(jeton.is_active(&login.access_token()).await);
        jeton.revoke(client, &reply.refresh_token()).await;
        let there = jeton.refreshing(client, &reply.refresh_token(), "").at(replica.public);
        there.send().await.assert_error(400, "invalid_grant");
        let form = format!("token={}", reply.access_token());
        let there = jeton.post_as("rs1", "/introspect", &form).at(replica.public).send().await;
        assert_eq!(there.json(), json!({"active": false}));
        assert_over(&jeton, client, &login, client).await;
        assert_over(&jeton, client, &reply, client).await;
    }
    assert_eq!(jeton.sessions().await.len(), bystanders.len());
    for (client, login) in bystanders {
        assert!(jeton.is_active(&login.access_token()).await, "{client}");
        jeton.refresh(client, &login.refresh_token(), "").await.refresh_token();
    }
}

/// RFC 7009 §2.1: whoever logs out with a stale copy is logged out: a token of any generation ends
/// the session, in the retry window and long after, and also one that is ahead of the database.
///
#[tokio::test]
async fn a_refresh_token_of_any_generation_ends_the_session() {
    let jeton = jeton().await;
    for (stale, passed, generation) in [(0, 0, 3), (0, 3_600, 3), (2, 0, 3), (3, 0, 0)] {
        let mut replies = vec![jeton.login_through("web", "").await];
        for rotation in 0..3_usize {
            let token = replies[rotation].refresh_token();
            replies.push(jeton.refresh("web", &token, "").await);
        }
        jeton.clock.advance(passed);
        jeton.database.query(&format!("UPDATE sessions SET generation = {generation}")).await;
        jeton.revoke("web", &replies[stale].refresh_token()).await;
        assert_eq!(jeton.sessions().await.len(), 0, "{stale}");
        for reply in &replies {
            assert_over(&jeton, "web", reply, &format!("{stale}")).await;
        }
    }
}

/// RFC 7009 §2, §2.1: an access token is revoked with the session it is of, the refresh token
/// included, because nothing else could end it at introspection; so it is for a client that has no
/// refresh tokens.
#[tokio::test]
async fn a_revoked_access_token_ends_its_session() {
    let jeton = jeton().await;
    for client in ["web", "spa", "claims"] {
        let login = jeton.login_through(client, "").await;
        let reply = jeton.refresh(client, &login.refresh_token(), "").await;
        jeton.revoke(client, &login.access_token()).await;
        assert_over(&jeton, client, &login, client).await;
        assert_over(&jeton, client, &reply, client).await;
    }
    let token = jeton.login_through("norefresh", "").await.access_token();
    assert!(jeton.is_active(&token).await);
    jeton.revoke("norefresh", &token).await;
    assert!(!jeton.is_active(&token).await);
}

/// RFC 7009 §2.1, §2.2: a hint is a hint: right, wrong or unknown, the token is found.
#[tokio::test]
async fn hints_do_not_change_what_is_revoked() {
    let jeton = jeton().await;
    for hint in ["access_token", "refresh_token", "foo", "REFRESH_TOKEN", "id_token", "%C3%A9", ""]
    {
        for access in [true, false] {
            let login = jeton.login_through("web", "").await;
            let token = if access { login.access_token() } else { login.refresh_token() };
            let form = format!("token={token}&token_type_hint={hint}");
            let reply = jeton.post_as("web", "/revoke", &form).send().await;
            assert_eq!((reply.status, reply.text()), (200, "{}"), "{hint}");
            assert_over(&jeton, "web", &login, hint).await;
        }
    }
}

/// RFC 7009 §2.1 and decision X-13: a client revokes its own tokens. To those of another it is told
/// what it is told of unknown ones, and they live on.
#[tokio::test]
async fn a_token_of_another_client_is_not_revoked() {
    let jeton = jeton().await;
    for (owner, strangers) in
        [("web", ["other", "spa", "rs1"]), ("spa", ["web", "nopw", "nothing"])]
    {
        let login = jeton.login_through(owner, "").await;
        let reply = jeton.refresh(owner, &login.refresh_token(), "").await;
        let before = jeton.sessions().await;
        for stranger in strangers {
            let unknown = jeton.revoking(stranger, "x").send().await;
            for token in [login.refresh_token(), reply.refresh_token(), reply.access_token()] {
                let answer = jeton.revoking(stranger, &token).send().await;
                assert_eq!(answer.comparable(), unknown.comparable(), "{stranger}");
            }
        }
        assert_eq!(jeton.sessions().await, before, "{owner}");
        assert!(jeton.is_active(&reply.access_token()).await);
        jeton.refresh(owner, &reply.refresh_token(), "").await.refresh_token();
    }
}

/// RFC 7009 §2.2: a token that is unknown, malformed, expired or revoked already cannot be used
/// anyway, so the answer is that of a success, to the octet.
#[tokio::test]
async fn what_cannot_be_used_anyway_is_answered_as_revoked() {
    let jeton = jeton().await;
    let expired = jeton.login_through("claims", "").await;
    let login = jeton.login_through("web", "").await;
    let expected = jeton.revoking("web", &login.refresh_token()).send().await;
    assert_eq!((expected.status, expected.text()), (200, "{}"));
    for (case, token) in [
        ("revoked already", login.refresh_token()),
        ("its access token", login.access_token()),
        ("random", "45ghiukldjahdnhzdauz".to_owned()),
        ("not ASCII", "\u{1f511} ".to_owned()),
        ("long", "A".repeat(8_192)),
        ("like a token", "A".repeat(88)),
        ("like a JWT", "e30.e30.e30".to_owned()),
        ("the name of a session", claims(&login.access_token())["sid"].to_string()),
    ] {
        let reply = jeton.revoking("web", &token).send().await;
        assert_eq!(reply.comparable(), expected.comparable(), "{case}");
    }
    // An access token that is over is no longer a means to end the session.
    jeton.clock.advance(120);
    let reply = jeton.revoking("claims", &expired.access_token()).send().await;
    assert_eq!(reply.comparable(), expected.comparable());
    let expired = jeton.refresh("claims", &expired.refresh_token(), "").await;
    jeton.clock.advance(14 * 86_400);
    let reply = jeton.revoking("claims", &expired.refresh_token()).send().await;
    assert_eq!(reply.comparable(), expected.comparable());
}

/// RFC 7009 §2.1, RFC 8725 §3.3: knowing the names in a token ends nothing: an access token that the
/// service did not sign, or signed for another client, is as good as none.
#[tokio::test]
async fn a_forged_access_token_revokes_nothing() {
    let jeton = jeton().await;
    let victim = jeton.login_through("web", "").await.access_token();
    let other = jeton.login_through("other", "").await.access_token();
    let key = ServiceKey::of(&jeton).await;
    let (header, body) = decode(&victim);
    let before = jeton.sessions().await;
    let input = format!("{}.{}", encode(header.to_string()), encode(body.to_string()));
    let own = RsaKeyPair::generate(2_048).expect("a key").to_jwk_key_pair();
    let own = RS256.signer_from_jwk(&own).expect("a private key");
    let signature = encode(own.sign(input.as_bytes()).expect("a signature"));
    let none = encode(json!({"alg": "none", "typ": "at+jwt"}).to_string());
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = body.clone();
        claims[name] = value;
        key.sign_claims(&claims)
    };
    for (case, token) in [
        ("another key", format!("{input}.{signature}")),
        ("no algorithm", format!("{none}.{}.", encode(body.to_string()))),
        ("no signature", format!("{input}.")),
        ("a cut signature", victim[..victim.len() - 4].to_owned()),
        ("another's signature", {
            let signature = other.rsplit('.').next().expect("three parts");
            format!("{input}.{signature}")
        }),
        ("another issuer", with("iss", json!("https://evil.example"))),
        ("another client", with("client_id", json!("other"))),
        ("expired", with("exp", json!(jeton.clock.now().0))),
    ] {
        jeton.revoke("web", &token).await;
        assert_eq!(jeton.sessions().await, before, "{case}");
    }
    let foreign = with("client_id", json!("other"));
    jeton.revoke("other", &foreign).await;
    assert_eq!(jeton.sessions().await, before);
    assert!(jeton.is_active(&victim).await && jeton.is_active(&other).await);
    // The key is the right one: else every forgery would be refused for that alone.
    jeton.revoke("web", &key.sign_claims(&body)).await;
    assert!(!jeton.is_active(&victim).await && jeton.is_active(&other).await);
}

/// RFC 7009 §2.2.1: what could not be stored is not answered as done: it is a 503 that says when to
/// come back, and nothing ended.
#[tokio::test]
async fn an_outage_revokes_nothing_and_says_so() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let login = jeton.login_through("web", "").await;
    outage.begin();
    for token in [login.refresh_token(), login.access_token()] {
        let reply = jeton.revoking("web", &token).send().await;
        reply.assert_error(503, "temporarily_unavailable");
        let seconds: u32 = reply.header("retry-after").parse().expect("whole seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    outage.end();
    assert!(jeton.is_active(&login.access_token()).await);
    let reply = jeton.refresh("web", &login.refresh_token(), "").await;
    jeton.revoke("web", &reply.refresh_token()).await;
    assert_over(&jeton, "web", &reply, "after the outage").await;
}
