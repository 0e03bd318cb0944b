//! A signature that was verified is remembered, and nothing else is: what a token is good for is asked each time.

use super::*;

/// How many access tokens were known to be genuine without a look at their signature.
async fn remembered(jeton: &Jeton) -> u64 {
    jeton.metric("jeton_access_tokens_remembered_total").await
}

/// A token whose signature was verified once needs no second time, whoever asks; a text that differs in one
/// character is none that was verified.
#[tokio::test]
async fn a_token_that_differs_in_one_character_is_not_remembered() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    assert!(jeton.is_active(&token).await);
    assert_eq!(remembered(&jeton).await, 0);
    assert!(jeton.is_active(&token).await);
    assert_eq!(remembered(&jeton).await, 1);
    assert_eq!(jeton.metric("jeton_access_tokens_verified_total").await, 1);
    let parts: Vec<usize> = token.match_indices('.').map(|(place, _)| place).collect();
    for place in [0, parts[0] - 1, parts[0] + 1, parts[1] - 1, parts[1] + 1, token.len() - 1] {
        for other in ["A", "b", "_"] {
            let mut text = token.clone();
            text.replace_range(place..=place, other);
            assert_eq!(jeton.is_active(&text).await, text == token, "{place} {other}");
        }
    }
    for text in [format!("{token}="), format!("{token} "), token[..token.len() - 1].to_owned()] {
        assert!(!jeton.is_active(&text).await, "{text}");
    }
    let before = remembered(&jeton).await;
    assert!(jeton.is_active(&token).await);
    assert_eq!(remembered(&jeton).await, before + 1);
}

/// RFC 7662 §4: a token whose signature is remembered is inactive once its key is withdrawn, on every replica.
#[tokio::test]
async fn a_remembered_token_ends_with_its_key() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let token = jeton.access_token().await;
    let introspect = async || {
        let form = format!("token={token}");
        let request =
            crate::harness::Request::new(replica.public, "POST", "/introspect").form(&form);
        let reply = request.basic("rs1", jeton.fixtures.secret("rs1")).send().await;
        reply.json()["active"] == true
    };
    for _ in 0..2 {
        assert!(jeton.is_active(&token).await && introspect().await);
    }
    assert_eq!(remembered(&jeton).await, 1);
    let kid = jeton.database.keys("signing").await.remove(0).kid;
    jeton.key(&["revoke", &kid, "--yes"]).await;
    replica.reload().await;
    assert!(!jeton.is_active(&token).await && !introspect().await);
    assert_eq!(remembered(&jeton).await, 1);
}

/// RFC 7662 §2.2: of a token whose signature is remembered the state is as fresh as of any other.
#[tokio::test]
async fn a_remembered_token_ends_with_its_session() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    let (token, refresh_token) = (login.access_token(), login.refresh_token());
    for _ in 0..2 {
        assert!(jeton.is_active(&token).await);
    }
    jeton.command("user disable alice").await;
    assert!(!jeton.is_active(&token).await);
    assert_eq!(remembered(&jeton).await, 2, "it is known, and not good");
    jeton.command("user enable alice").await;
    let form = format!("grant_type=refresh_token&refresh_token={refresh_token}");
    jeton.token(&form).await.assert_error(400, "invalid_grant");
    let token = jeton.access_token().await;
    for _ in 0..2 {
        assert!(jeton.is_active(&token).await);
    }
    // A minute after its end, whatever is remembered of it.
    jeton.clock.advance(11 * 60);
    assert!(!jeton.is_active(&token).await);
}
