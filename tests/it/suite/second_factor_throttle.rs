//! Guessing at one-time passwords with the right password in hand.

use serde_json::Value;

use super::*;
use crate::harness::otp::Authenticator;

/// The address that alice always logs in from.
const HOME: &str = "198.51.100.1";
/// The attacker's.
const ELSEWHERE: &str = "198.51.100.2";

async fn jeton_behind_proxy() -> Jeton {
    Jeton::start_with(ENGINE, &["--trusted-proxy", "127.0.0.0/8"]).await
}

async fn try_code(jeton: &Jeton, address: &str, code: &str) -> Reply {
    let form = format!("{}&otp={code}", login_form("alice", PASSWORD));
    jeton.post_as("spa", "/token", &form).header("X-Forwarded-For", address).send().await
}

/// Another wrong code each time, which is none of the good ones.
fn wrong_code(jeton: &Jeton, own: &Authenticator, number: u32) -> String {
    let good: Vec<String> = (-20..=20).map(|steps| jeton.code(own, steps)).collect();
    let code = |n: u32| format!("{:06}", (n * 7_919 + 13) % 1_000_000);
    (number..number + 100).map(code).find(|code| !good.contains(code)).expect("there are more")
}

async fn shown(jeton: &Jeton) -> Value {
    let master = jeton.fixtures.master_key.display().to_string();
    let all = ["user", "show", "alice", "--json", "--master-key-file", &master];
    serde_json::from_str::<Value>(&jeton.run(&all, "").await).expect("JSON")["throttle"].clone()
}

/// After five wrong codes from an origin none is accepted from there, whether it is right or not, until one is forgotten a
/// quarter of an hour later. A missing code is no wrong one. [O-13]
#[tokio::test]
async fn five_wrong_codes_use_up_an_origin() {
    let jeton = jeton_behind_proxy().await;
    let own = jeton.enrol("alice", &[]).await;
    assert_eq!(try_code(&jeton, HOME, &jeton.code(&own, 0)).await.status, 200);
    for number in 0..5 {
        let code = wrong_code(&jeton, &own, number);
        try_code(&jeton, HOME, &code).await.assert_error(400, "invalid_grant");
    }
    // Ten minutes later a wrong password would be forgiven: its wait was a second.
    jeton.clock.advance(600);
    try_code(&jeton, HOME, &jeton.code(&own, 0)).await.assert_error(400, "invalid_grant");
    jeton.clock.advance(900);
    let reply = try_code(&jeton, HOME, &jeton.code(&own, 0)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// After 100 wrong codes in a row only origins are served that the account knows and whose address can be trusted; the
/// owner at such an origin is not locked out. An operator unlocks the user. [O-14]
#[tokio::test]
async fn a_hundred_wrong_codes_leave_only_known_origins() {
    let jeton = jeton_behind_proxy().await;
    let own = jeton.enrol("alice", &[]).await;
    assert_eq!(try_code(&jeton, HOME, &jeton.code(&own, 0)).await.status, 200);
    // A wrong password first, so that the two counters can be told apart below.
    let form = login_form("alice", "tuesday fern lamb");
    let request = jeton.post_as("spa", "/token", &form).header("X-Forwarded-For", ELSEWHERE);
    request.send().await.assert_error(400, "invalid_grant");
    let code = wrong_code(&jeton, &own, 0);
    try_code(&jeton, ELSEWHERE, &code).await.assert_error(400, "invalid_grant");
    assert_eq!(shown(&jeton).await["wrong_codes"], 1);
    // As if 98 other codes had followed, of which all are forgotten and none is forgiven.
    let past = "UPDATE login_throttle SET failures = 99 WHERE account IS NULL AND failures = 1 \
                AND forgotten_at > 0";
    jeton.database.query(past).await;
    jeton.clock.advance(86_400);
    let code = wrong_code(&jeton, &own, 1);
    try_code(&jeton, ELSEWHERE, &code).await.assert_error(400, "invalid_grant");
    assert_eq!(shown(&jeton).await["codes_locked"], true);
    jeton.clock.advance(86_400);
    assert_eq!(shown(&jeton).await["locked"], false, "wrong passwords are another matter");
    try_code(&jeton, ELSEWHERE, &jeton.code(&own, 0)).await.assert_error(400, "invalid_grant");
    let reply = try_code(&jeton, HOME, &jeton.code(&own, 0)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        shown(&jeton).await["codes_locked"],
        true,
        "the owner's logins at home change nothing"
    );
    let master = jeton.fixtures.master_key.display().to_string();
    jeton.run(&["user", "unlock", "alice", "--master-key-file", &master], "").await;
    jeton.clock.advance(30);
    let reply = try_code(&jeton, ELSEWHERE, &jeton.code(&own, 0)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Who has no password learns nothing of codes and uses none up: guesses at the password count as those. [O-12]
#[tokio::test]
async fn wrong_passwords_use_up_no_codes() {
    let jeton = jeton_behind_proxy().await;
    let own = jeton.enrol("alice", &[]).await;
    for number in 0..5 {
        let form = format!(
            "{}&otp={}",
            login_form("alice", "tuesday fern lamb"),
            jeton.code(&own, number)
        );
        let request = jeton.post_as("spa", "/token", &form).header("X-Forwarded-For", ELSEWHERE);
        request.send().await.assert_error(400, "invalid_grant");
    }
    assert_eq!(shown(&jeton).await["wrong_codes"], 0);
}

/// A missing code is a wrong password, and so is one of blanks and hyphens only: neither is counted as a wrong code. [O-12]
#[tokio::test]
async fn a_missing_code_is_no_wrong_code() {
    let jeton = jeton_behind_proxy().await;
    let own = jeton.enrol("alice", &[]).await;
    for nothing in ["", "+", "+-+"] {
        try_code(&jeton, ELSEWHERE, nothing).await.assert_error(400, "invalid_grant");
    }
    assert_eq!(shown(&jeton).await["wrong_codes"], 0);
    // Digits of other scripts are no digits.
    for odd in ["%D9%A1%D9%A2%D9%A3%D9%A4%D9%A5%D9%A6", "%EF%BC%91%EF%BC%92%EF%BC%93"] {
        try_code(&jeton, ELSEWHERE, odd).await.assert_error(400, "invalid_grant");
    }
    assert_eq!(shown(&jeton).await["wrong_codes"], 2);
    assert_eq!(try_code(&jeton, HOME, &jeton.code(&own, 0)).await.status, 200);
}
