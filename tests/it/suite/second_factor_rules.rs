//! Who must use a second factor, and who is told that a code is missing.

use super::*;
use crate::harness::forge::claims;

const WRONG: &str = "tuesday fern lamb";

/// RFC 9700 §2.4: a user who must use a second factor gets nothing without one, and everything with it. [TG-21]
#[tokio::test]
async fn a_user_who_must_use_a_second_factor_logs_in_with_one() {
    let jeton = jeton().await;
    jeton.token(&login_form("mfa", PASSWORD)).await.assert_error(400, "invalid_grant");
    let own = jeton.enrol("mfa", &[]).await;
    let reply = jeton.login_with_code("web", "mfa", &jeton.code(&own, 0)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(jeton.is_active(&reply.access_token()).await);
    let refreshed = jeton.refresh("web", &reply.refresh_token(), "").await;
    assert_eq!(refreshed.status, 200);
    // What is decided about the user does not end a session that has used one.
    jeton.command("user set mfa --mfa-required").await;
    jeton.command("user set mfa --role admin").await;
    assert!(jeton.is_active(&refreshed.access_token()).await);
}

/// A client may ask for a second factor: of all its users, or for some scope only. A refresh asks again. [O-11]
#[tokio::test]
async fn a_client_asks_for_a_second_factor() {
    let jeton = jeton().await;
    let plain = jeton.login_through("web", "&scope=read+write").await;
    jeton.command("client set web --requires-mfa-scope write").await;
    let asked = jeton.login_through("web", "&scope=read+write").await;
    asked.assert_error(400, "invalid_scope");
    assert_eq!(jeton.login_through("web", "&scope=read").await.status, 200);
    let refreshed = jeton.refresh("web", &plain.refresh_token(), "").await;
    assert_eq!(claims(&refreshed.access_token())["scope"], "read");
    jeton.command("client set web --requires-mfa").await;
    jeton.login_through("web", "&scope=read").await.assert_error(400, "invalid_grant");
    jeton.refresh("web", &refreshed.refresh_token(), "").await.assert_error(400, "invalid_grant");
    let own = jeton.enrol("alice", &[]).await;
    let form =
        format!("{}&otp={}&scope=read+write", login_form("alice", PASSWORD), jeton.code(&own, 0));
    let reply = jeton.token(&form).await;
    assert_eq!(claims(&reply.access_token())["scope"], "read write");
    assert_eq!(jeton.refresh("web", &reply.refresh_token(), "").await.status, 200);
}

/// Nothing tells a missing or wrong code from a wrong password, except to a client that is registered to be told, and it
/// is told only that one is missing. [O-12]
#[tokio::test]
async fn only_a_client_that_is_registered_is_told_that_a_code_is_missing() {
    let jeton = jeton().await;
    let own = jeton.enrol("alice", &[]).await;
    jeton.command("client set other --tells-second-factor").await;
    let send = async |client: &str, password: &str, code: &str| {
        jeton.forget_failures().await;
        let form = format!("{}&otp={code}", login_form("alice", password));
        jeton.post_as(client, "/token", &form).send().await
    };
    let wrong = send("web", WRONG, "").await;
    for (client, password, code) in [
        ("web", PASSWORD, ""),
        ("web", PASSWORD, "000000"),
        ("web", WRONG, "000000"),
        ("other", PASSWORD, "000000"),
        ("other", WRONG, ""),
        ("other", WRONG, &jeton.code(&own, 0)),
    ] {
        let reply = send(client, password, code).await;
        reply.assert_error(400, "invalid_grant");
        assert_eq!(reply.comparable(), wrong.comparable(), "{client} {code:?}");
    }
    let told = send("other", PASSWORD, "").await;
    told.assert_error(400, "mfa_required");
    // It counts nowhere: an app asks for the password first at each login.
    for _ in 0..10 {
        let reply = jeton.post_as("other", "/token", &login_form("alice", PASSWORD)).send().await;
        reply.assert_error(400, "mfa_required");
    }
    let reply = send("other", PASSWORD, &jeton.code(&own, 0)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}
