//! Who may refresh: clients, their grants and their secrets (RFC 6749 §6).

use super::*;
use crate::harness::forge::claims;
use crate::harness::refresh_form;

/// Logs alice in through `web` and returns the refresh token.
async fn refresh_token(jeton: &Jeton) -> String {
    jeton.login_through("web", "").await.refresh_token()
}

/// RFC 6749 §1.5, RFC 9700 §4.14.2: who gets refresh tokens is decided for each client: those that
/// are registered for both grants. [S-09]
#[tokio::test]
async fn only_a_client_with_both_grants_gets_a_refresh_token() {
    let jeton = jeton().await;
    for (client, gets) in [("web", true), ("spa", true), ("norefresh", false), ("bound", false)] {
        let body = jeton.login_through(client, "").await.json();
        assert_eq!(body.get("refresh_token").is_some(), gets, "{client}");
    }
    jeton.command("client set norefresh --grant password --grant refresh_token").await;
    let token = jeton.login_through("norefresh", "").await.refresh_token();
    jeton.refresh("norefresh", &token, "").await.refresh_token();
}

/// RFC 6749 §6, §3.2.1: a confidential client proves who it is before its refresh token is looked
/// at, and the token is good afterwards. [TR-03] [TC-32]
#[tokio::test]
async fn a_confidential_client_authenticates_to_refresh() {
    let jeton = jeton().await;
    let token = refresh_token(&jeton).await;
    let before = jeton.sessions().await;
    let form = refresh_form(&token);
    let web = jeton.fixtures.secret("web");
    // Whether the token is good changes nothing.
    let of_nobody = jeton.post("/token", &refresh_form("x")).send().await;
    let reply = jeton.post("/token", &form).send().await;
    assert_eq!(reply.comparable(), of_nobody.comparable());
    reply.assert_error(401, "invalid_client");
    let expected = jeton.post("/token", &refresh_form("x")).basic("web", "wrong").send().await;
    for (case, request) in [
        ("a name", jeton.post("/token", &format!("{form}&client_id=web"))),
        ("a wrong secret", jeton.post("/token", &form).basic("web", "wrong")),
        ("no secret", jeton.post("/token", &form).basic("web", "")),
        (
            "a wrong secret in the form",
            jeton.post("/token", &format!("{form}&client_id=web&client_secret=wrong")),
        ),
        ("another's secret", jeton.post("/token", &form).basic("other", web)),
        ("the token for a secret", jeton.post("/token", &form).basic("web", &token)),
    ] {
        let reply = request.send().await;
        assert_eq!(reply.comparable(), expected.comparable(), "{case}");
        reply.assert_error(401, "invalid_client");
    }
    assert_eq!(jeton.sessions().await, before);
    jeton.refresh("web", &token, "").await.refresh_token();
}

/// RFC 6749 §6, §10.4; OAuth 2.1 §4.3.1: a refresh token works for the client it was issued to, and
/// an attempt of another changes nothing, not even with a token that was used. [TR-04] [TR-05]
#[tokio::test]
async fn a_refresh_token_works_for_its_client_only() {
    let jeton = jeton().await;
    let grants = ["--grant", "refresh_token", "--scope", "read", "--default-scope", "read"];
    assert!(jeton.try_add_client("page", &grants).await);
    for (owner, strangers) in [("web", ["other", "spa", "nopw"]), ("spa", ["page", "web", "nopw"])]
    {
        let used = jeton.login_through(owner, "").await.refresh_token();
        let used_again = jeton.refresh(owner, &used, "").await.refresh_token();
        let token = jeton.refresh(owner, &used_again, "").await.refresh_token();
        let before = jeton.sessions().await;
        for stranger in strangers {
            let unknown = jeton.refresh(stranger, "x", "").await;
            for stolen in [&token, &used_again, &used] {
                let reply = jeton.refresh(stranger, stolen, "").await;
                assert_eq!(reply.comparable(), unknown.comparable(), "{stranger} for {owner}");
                reply.assert_error(400, "invalid_grant");
            }
        }
        assert_eq!(jeton.sessions().await, before, "{owner}");
        jeton.refresh(owner, &token, "").await.refresh_token();
    }
    let token = jeton.login_through("spa", "").await.refresh_token();
    jeton.post("/token", &refresh_form(&token)).send().await.assert_error(401, "invalid_client");
    let wrong = jeton.post("/token", &refresh_form(&token)).basic("spa", "junk").send().await;
    wrong.assert_error(401, "invalid_client");
    jeton.refresh("spa", &token, "").await.refresh_token();
}

/// RFC 6749 §3.2.1, §4.3.2: where a default client is configured, a refresh request that names no
/// client is that client's, and only that.
#[tokio::test]
async fn the_default_client_refreshes_its_own_tokens() {
    let jeton = Jeton::start_with(ENGINE, &["--default-client", "spa"]).await;
    let web = refresh_token(&jeton).await;
    jeton.post("/token", &refresh_form(&web)).send().await.assert_error(400, "invalid_grant");
    let login = jeton.post("/token", &login_form("alice", PASSWORD)).send().await;
    let mut token = login.refresh_token();
    for request in [
        |jeton: &Jeton, form: &str| jeton.post("/token", form),
        |jeton: &Jeton, form: &str| {
            jeton.post("/token", form).header("Authorization", "Basic Og==")
        },
        |jeton: &Jeton, form: &str| jeton.post_as("spa", "/token", form),
    ] {
        let reply = request(&jeton, &refresh_form(&token)).send().await;
        assert_eq!(claims(&reply.access_token())["client_id"], "spa");
        token = reply.refresh_token();
    }
    jeton.refresh("web", &web, "").await.refresh_token();
}

/// RFC 6749 §5.2: a client that may not refresh, any more or ever, is told so whatever it presents;
/// its token is as good as before once it may again. A client that may refresh only, and not log in
/// any more, can. [TR-23]
#[tokio::test]
async fn a_client_without_the_grant_is_unauthorized() {
    let jeton = jeton().await;
    let token = refresh_token(&jeton).await;
    for (client, token) in [("norefresh", &*token), ("nothing", &token), ("rs1", "x")] {
        jeton.refresh(client, token, "").await.assert_error(400, "unauthorized_client");
    }
    jeton.refresh("nopw", "x", "").await.assert_error(400, "invalid_grant");
    jeton.command("client set web --grant password").await;
    jeton.refresh("web", &token, "").await.assert_error(400, "unauthorized_client");
    jeton.refresh("web", "x", "").await.assert_error(400, "unauthorized_client");
    assert!(jeton.login_through("web", "").await.json().get("refresh_token").is_none());
    jeton.command("client set web --grant refresh_token").await;
    let token = jeton.refresh("web", &token, "").await.refresh_token();
    jeton.login_through("web", "").await.assert_error(400, "unauthorized_client");
    jeton.command("client set web --grant password --grant refresh_token").await;
    jeton.refresh("web", &token, "").await.refresh_token();
}

/// RFC 6749 §3.2.1, RFC 9449 §5: a refresh token belongs to the client and not to a secret of it:
/// when the secret is replaced, with an overlap, it works with the other one. [TC-30]
#[tokio::test]
async fn a_refresh_token_outlives_the_clients_secret() {
    let jeton = jeton().await;
    let token = refresh_token(&jeton).await;
    let add = jeton.run(&["client", "secret", "add", "web", "--json"], "").await;
    let added: serde_json::Value = serde_json::from_str(&add).expect("JSON");
    let second = added["client_secret"].as_str().expect("a secret").to_owned();
    let first = jeton.fixtures.secret("web").to_owned();
    let refresh = async |token: &str, secret: &str| {
        jeton.post("/token", &refresh_form(token)).basic("web", secret).send().await
    };
    let token = refresh(&token, &first).await.refresh_token();
    let token = refresh(&token, &second).await.refresh_token();
    jeton.command("client secret remove web 1").await;
    refresh(&token, &first).await.assert_error(401, "invalid_client");
    refresh(&token, &second).await.refresh_token();
}
