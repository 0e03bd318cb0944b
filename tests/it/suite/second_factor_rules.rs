//! Who must use a second factor, and who is told that a code is missing.

use super::*;
use crate::harness::forge::claims;
use crate::harness::run_with_input;

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

/// A program of before asks for no second factor, so none is set up while one runs. What it would do is said, and nothing
/// is stored.
#[tokio::test]
async fn no_second_factor_is_wanted_beside_a_replica_of_before() {
    let jeton = jeton().await;
    let old = r#"{"version":"0.2.0","issuer":"http://localhost","jwks_max_age":300,"key_rotation":7776000}"#;
    let columns = "replica_id, settings, started_at, seen_at";
    let add = format!("INSERT INTO replicas ({columns}) VALUES ('old', '{old}', 1, 9000000000)");
    jeton.database.query(&add).await;
    let master = jeton.fixtures.master_key.display().to_string();
    let key = ["--master-key-file", &master];
    let user = r#"{"username":"new","password_hash":"$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
                   "otp":"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}"#
        .replace('\n', "");
    let wanted: [(&[&str], &str); 5] = [
        (&["user", "otp", "add", "alice", key[0], key[1]], ""),
        (&["import", "jsonl", "-", key[0], key[1]], &user),
        (&["client", "add", "new", "--public", "--requires-mfa"], ""),
        (&["client", "set", "web", "--requires-mfa"], ""),
        (&["client", "set", "web", "--requires-mfa-scope", "write"], ""),
    ];
    let database = ["--database", &jeton.database.url];
    for (arguments, input) in wanted {
        let output = run_with_input(&[arguments, &database].concat(), input);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {said}");
        assert!(said.contains("the replica old is of version 0.2.0"), "{said}");
        assert!(said.contains("lets in with the password alone"), "{said}");
    }
    let stored = "SELECT COUNT(*) FROM users WHERE second_factors IS NOT NULL OR username = 'new'";
    assert_eq!(jeton.database.query(stored).await, [[Some("0".to_owned())]]);
    jeton.command("client set web --requires-mfa=false").await;
    jeton.database.query("UPDATE replicas SET stopped_at = 1 WHERE replica_id = 'old'").await;
    for (arguments, input) in wanted {
        let output = run_with_input(&[arguments, &database].concat(), input);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
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
