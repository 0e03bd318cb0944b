//! One-time passwords beside the password: RFC 6238, RFC 4226.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::harness::Request;
use crate::harness::forge::claims;
use crate::harness::otp::Authenticator;

/// RFC 6238 §5.2: who has an authenticator needs a code at each login; one is accepted once, and those before it no
/// more. `amr`, `acr` and `auth_time` say so, and a refresh keeps them (RFC 9068 §2.2.1, RFC 8176). [O-03] [O-04] [O-09]
#[tokio::test]
async fn a_code_is_needed_and_accepted_once() {
    let jeton = jeton().await;
    let before = jeton.login_through("web", "").await;
    assert_eq!(claims(&before.access_token())["amr"], json!(["pwd"]));
    assert_eq!(claims(&before.access_token()).get("acr"), None);
    let own = jeton.enrol("alice", &["--name", "phone"]).await;
    jeton.token(&login_form("alice", PASSWORD)).await.assert_error(400, "invalid_grant");
    let code = jeton.code(&own, 0);
    let reply = jeton.login_with_code("web", "alice", &code).await;
    let first = claims(&reply.access_token());
    assert_eq!(first["amr"], json!(["pwd", "otp", "mfa"]));
    assert_eq!(first["acr"], "https://refeds.org/profile/mfa");
    for used in [0, -1] {
        let code = jeton.code(&own, used);
        jeton.login_with_code("web", "alice", &code).await.assert_error(400, "invalid_grant");
    }
    jeton.clock.advance(30);
    let refreshed = jeton.refresh("web", &reply.refresh_token(), "").await;
    let second = claims(&refreshed.access_token());
    for name in ["amr", "acr", "auth_time"] {
        assert_eq!(first[name], second[name], "{name}");
    }
    let described = jeton.introspect_as("rs1", &refreshed.access_token()).await;
    assert_eq!((&described["amr"], &described["acr"]), (&first["amr"], &first["acr"]));
}

/// RFC 6238 §5.2: a code of the step before or after is accepted, one further away is not. §6: how far off the clock of
/// the authenticator is, is remembered, so it may drift away step by step. [O-05]
#[tokio::test]
async fn one_step_of_skew_is_allowed_and_drift_is_remembered() {
    let jeton = jeton().await;
    let own = jeton.enrol("alice", &[]).await;
    for far in [2, -2] {
        jeton
            .login_with_code("web", "alice", &jeton.code(&own, far))
            .await
            .assert_error(400, "invalid_grant");
    }
    // An hour each, in which the failures are forgotten.
    for ahead in 1..=3 {
        jeton.clock.advance(3_600);
        let reply = jeton.login_with_code("web", "alice", &jeton.code(&own, ahead)).await;
        assert_eq!(reply.status, 200, "{ahead} steps ahead: {}", reply.text());
    }
    // Its clock was set right meanwhile.
    jeton.clock.advance(3_600);
    assert_eq!(jeton.login_with_code("web", "alice", &jeton.code(&own, 0)).await.status, 200);
}

/// Keycloak's clients send `totp`. Who sends both names repeats the parameter (RFC 6749 §3.2). [O-06]
#[tokio::test]
async fn totp_is_another_name_of_otp() {
    let jeton = jeton().await;
    let own = jeton.enrol("alice", &[]).await;
    let code = jeton.code(&own, 0);
    let login = login_form("alice", PASSWORD);
    jeton
        .token(&format!("{login}&otp={code}&totp={code}"))
        .await
        .assert_error(400, "invalid_request");
    let spaced = format!("{}+{}", &code[..3], &code[3..]);
    assert_eq!(jeton.token(&format!("{login}&totp={spaced}")).await.status, 200);
    // Who has no authenticator may send anything.
    let bob = login_form("bob", PASSWORD);
    assert_eq!(jeton.token(&format!("{bob}&otp=000000")).await.status, 200);
}

/// Ten recovery codes are shown once; each is good once, however it is typed. New ones replace them. [O-07]
#[tokio::test]
async fn a_recovery_code_is_good_once() {
    let jeton = jeton().await;
    let own = jeton.enrol("alice", &[]).await;
    assert_eq!(own.recovery_codes.len(), 10);
    let typed = own.recovery_codes[3].to_uppercase().replace('-', " ");
    let reply = jeton.login_with_code("web", "alice", &typed).await;
    assert_eq!(claims(&reply.access_token())["amr"], json!(["pwd", "otp", "mfa"]));
    jeton
        .login_with_code("web", "alice", &own.recovery_codes[3])
        .await
        .assert_error(400, "invalid_grant");
    let listed = jeton.otp(&["list", "alice"]).await;
    assert_eq!(listed["recovery_codes_left"], 9);
    let made = jeton.otp(&["recovery-codes", "alice"]).await;
    let new = made["recovery_codes"][0].as_str().expect("a text").to_owned();
    jeton
        .login_with_code("web", "alice", &own.recovery_codes[4])
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(jeton.login_with_code("web", "alice", &new).await.status, 200);
}

/// An authenticator counts once a code has proved it. A user may have several; each has steps of its own. With the last
/// one the recovery codes go. [O-08]
#[tokio::test]
async fn authenticators_come_and_go() {
    let jeton = jeton().await;
    let added = jeton.otp(&["add", "alice", "--name", "waits"]).await;
    let waits = added["id"].as_str().expect("an id");
    assert_eq!(jeton.token(&login_form("alice", PASSWORD)).await.status, 200, "it does not count");
    jeton.otp(&["remove", "alice", waits]).await;
    let sha512 = ["--name", "tablet", "--algorithm", "SHA512", "--digits", "8", "--period", "60"];
    let (phone, tablet) =
        (jeton.enrol("alice", &["--name", "phone"]).await, jeton.enrol("alice", &sha512).await);
    assert!(tablet.recovery_codes.is_empty(), "they were made for the first one");
    assert_eq!(jeton.code(&tablet, 0).len(), 8);
    for own in [&tablet, &phone] {
        let reply = jeton.login_with_code("web", "alice", &jeton.code(own, 0)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let listed = jeton.otp(&["list", "alice"]).await;
    let names: Vec<&Value> = listed["authenticators"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|own| &own["name"])
        .collect();
    assert_eq!(names, ["phone", "tablet"]);
    for own in [&phone, &tablet] {
        jeton.token(&login_form("alice", PASSWORD)).await.assert_error(400, "invalid_grant");
        jeton.otp(&["remove", "alice", &own.id]).await;
    }
    assert_eq!(jeton.token(&login_form("alice", PASSWORD)).await.status, 200);
    let stored =
        jeton.database.query("SELECT second_factors FROM users WHERE username = 'alice'").await;
    assert_eq!(stored, [[None]]);
}

/// RFC 6238 §5.2: of requests that race with one code at three replicas, one gets a session, and so it is with a recovery
/// code. `tests/long` has a thousand rounds. [O-03] [O-07]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_requests_with_one_code_one_is_answered() {
    let rounds = if std::env::var_os("JETON_LONG").is_some() { 1_010 } else { 20 };
    let jeton = jeton().await;
    let own = jeton.enrol("alice", &[]).await;
    let others = [jeton.replica().await, jeton.replica().await];
    let addresses = [jeton.service.public, others[0].public, others[1].public];
    for round in 0..rounds {
        jeton.clock.advance(30);
        let recovery_code = own.recovery_codes.get(round).cloned();
        let code = recovery_code.unwrap_or_else(|| jeton.code(&own, 0));
        let form = format!("{}&otp={code}&client_id=spa", login_form("alice", PASSWORD));
        let mut racing = JoinSet::new();
        for address in addresses {
            let request = Request::new(address, "POST", "/token").form(&form);
            racing.spawn(async move { request.send().await.status });
        }
        let answers = racing.join_all().await;
        let opened = answers.iter().filter(|status| **status == 200).count();
        assert_eq!(opened, 1, "round {round}: {answers:?}");
        jeton.forget_failures().await;
    }
    let sessions = "SELECT COUNT(*) FROM sessions WHERE second_factor_at IS NOT NULL";
    // More than 50 of a user through one client are not kept.
    let kept = rounds.min(50);
    assert_eq!(jeton.database.query(sessions).await, [[Some(kept.to_string())]]);
}

/// Secrets of authenticators are sealed and recovery codes are keyed digests: the database has neither. Another master
/// key opens them after `key rewrap`. [O-02]
#[tokio::test]
async fn the_database_holds_no_secret_of_an_authenticator() {
    let jeton = jeton().await;
    let added = jeton.otp(&["add", "bob"]).await;
    let uri = added["otpauth"].as_str().expect("a URI");
    let own = Authenticator::read("", uri);
    let secret = uri.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).expect("one");
    let alice = jeton.enrol("alice", &[]).await;
    let dump = format!("{:?}", jeton.database.dump().await);
    for hidden in std::iter::once(secret).chain(alice.recovery_codes.iter().map(String::as_str)) {
        assert!(!dump.contains(hidden) && !dump.contains(&hidden.replace('-', "")), "{hidden}");
    }
    assert_eq!(jeton.code(&own, 0).len(), 6);
}

/// `user import` takes the secrets of authenticators as Keycloak and Supabase export them. They count at once. [O-10]
#[tokio::test]
async fn authenticators_are_imported() {
    let jeton = jeton().await;
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let hash =
        jeton.database.query("SELECT password_hash FROM users WHERE username = 'alice'").await;
    let hash = hash[0][0].clone().expect("a hash");
    let credential = json!({
        "type": "otp", "userLabel": "phone",
        "secretData": r#"{"value":"12345678901234567890"}"#,
        "credentialData": r#"{"subType":"totp","digits":6,"counter":0,"period":30,"algorithm":"HmacSHA1"}"#,
    });
    let factor = json!({ "factor_type": "totp", "status": "verified", "secret": secret });
    let lines = [
        ("keycloak", json!([credential])),
        ("supabase", factor),
        ("uri", json!(format!("otpauth://totp/a?secret={secret}"))),
    ]
    .map(|(name, otp)| json!({ "username": name, "password_hash": hash, "otp": otp }).to_string())
    .join("\n");
    let master = jeton.fixtures.master_key.display().to_string();
    let report =
        jeton.run(&["user", "import", "-", "--json", "--master-key-file", &master], &lines).await;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((&report["added"], &report["authenticators"]), (&json!(3), &json!(3)));
    let own = Authenticator::read("", &format!("otpauth://totp/a?secret={secret}"));
    for name in ["keycloak", "supabase", "uri"] {
        jeton.token(&login_form(name, PASSWORD)).await.assert_error(400, "invalid_grant");
        let reply = jeton.login_with_code("web", name, &jeton.code(&own, 0)).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
}
