//! `kill -9` of the real service while a code is accepted.

use std::time::Duration;

use super::*;
use crate::harness::otp::Authenticator;
use crate::harness::{Database, Executable, Request, run_with_input};
use jeton_runtime::clock::Clock;

/// How often the session is looked for before the service is killed.
const LOOKS_MAX: u32 = 30_000;
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// RFC 6238 §5.2: a service that dies when it has accepted a code lets nobody use the code again, whether its answer
/// arrived or not. It costs the next code at most. [O-03]
#[tokio::test]
async fn a_service_that_is_killed_lets_no_code_be_used_twice() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master = fixtures.master_key.display().to_string();
    let otp = |arguments: &[&str]| {
        let further = ["--json", "--master-key-file", &master, "--database", &database.url];
        let output = run_with_input(&[&["user", "otp"], arguments, &further].concat(), "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let added = otp(&["add", "alice"]);
    let own = Authenticator::read("", added["otpauth"].as_str().expect("a URI"));
    let began = Clock::System.now().0;
    let code = |steps| own.code_at(began, steps);
    let confirmed = otp(&["confirm", "alice", &code(0)]);
    let recovery_code = confirmed["recovery_codes"][0].as_str().expect("a code").to_owned();

    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let form = |code: &str| format!("{}&otp={code}&client_id=spa", login_form("alice", PASSWORD));
    let request = Request::new(service.public, "POST", "/token").form(&form(&code(1)));
    let answering = tokio::spawn(async move { request.try_send().await });
    let count = "SELECT COUNT(*) FROM sessions WHERE second_factor_at IS NOT NULL";
    let mut looks = 0;
    while database.query(count).await == [[Some("0".to_owned())]] {
        looks += 1;
        assert!(looks < LOOKS_MAX, "no session was opened");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    service.signal("KILL");
    service.wait();
    drop(answering.await);

    let service = Executable::serve_on(&database, fixtures, &[]);
    let send = async |code: String| {
        Request::new(service.public, "POST", "/token").form(&form(&code)).send().await
    };
    send(code(1)).await.assert_error(400, "invalid_grant");
    assert_eq!(database.query(count).await, [[Some("1".to_owned())]]);
    assert_eq!(send(recovery_code).await.status, 200, "another code is good");
}
