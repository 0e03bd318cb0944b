//! The password grant (RFC 6749 §4.3).

use super::*;
use crate::harness::forge::claims;

/// RFC 6749 §4.3.2: the right password of a user gives a token. [TG-01]
#[tokio::test]
async fn a_right_password_gives_a_token() {
    let jeton = jeton().await;
    let reply = jeton.token(&login_form("alice", PASSWORD)).await;
    assert_eq!(claims(&reply.access_token())["sub"], jeton.fixtures.sub("alice"));
}

/// RFC 6749 §5.2: wrong credentials are `invalid_grant` with 400 and without a challenge.
/// [TG-04] [TE-04] [TE-20]
#[tokio::test]
async fn a_wrong_password_is_an_invalid_grant() {
    let jeton = jeton().await;
    jeton.token(&login_form("alice", "tuesday fern lamb")).await.assert_error(400, "invalid_grant");
}
