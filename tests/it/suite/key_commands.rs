//! `jeton key`: what it says, what it changes, and what a running service makes of it.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use serde_json::{Value, json};

use super::*;
use crate::harness::executable::command;
use crate::harness::forge::ServiceKey;
use crate::harness::keys::{KeySet, key_command, kid_of};
use crate::harness::{Database, Executable};

/// What `jeton key list --json` prints.
async fn listed(jeton: &Jeton, further: &[&str]) -> Vec<Value> {
    let (_, printed) = jeton.key(&[&["list", "--json"], further].concat()).await;
    let keys: Value = serde_json::from_str(&printed).expect("JSON");
    keys.as_array().expect("an array").clone()
}

/// The names and states of the listed keys.
async fn states(jeton: &Jeton, further: &[&str]) -> Vec<(String, String)> {
    let text = |key: &Value, member: &str| key[member].as_str().expect("text").to_owned();
    listed(jeton, further).await.iter().map(|key| (text(key, "kid"), text(key, "state"))).collect()
}

/// Runs `jeton key …`, which must fail with one sentence that says all of this and change nothing.
/// `exit_codes.rs` has the codes.
async fn refuses(jeton: &Jeton, arguments: &[&str], says: &[&str]) {
    let before = jeton.database.dump().await;
    let master_key = jeton.fixtures.master_key.display().to_string();
    let output = key_command(&jeton.database, &master_key, arguments, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(0), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    for part in says {
        assert!(said.contains(part), "{arguments:?} says {part:?}: {said}");
    }
    assert!(!said.contains("panic"), "{said}");
    assert_eq!(jeton.database.dump().await, before, "{arguments:?}");
}

/// Keys are listed with their states and dates, for people with a picture of their lives in which now
/// is marked, and for scripts as JSON with members that stay.
#[tokio::test]
async fn keys_are_listed() {
    let jeton = jeton().await;
    let row = jeton.database.keys("signing").await.remove(0);
    let alone = listed(&jeton, &[]).await;
    assert_eq!(alone.len(), 1);
    assert_eq!((&alone[0]["kid"], &alone[0]["state"]), (&json!(row.kid), &json!("signing")));
    assert_eq!(alone[0]["activates_at"], row.activates_at);
    for unknown in ["retires_at", "gone_at", "revoked_at"] {
        assert_eq!(alone[0][unknown], Value::Null, "{unknown}");
    }

    jeton.key(&["rotate", "--yes"]).await;
    let keys = listed(&jeton, &[]).await;
    let mut members: Vec<_> = keys[0].as_object().expect("an object").keys().collect();
    members.sort();
    assert_eq!(
        members,
        [
            "activates_at",
            "created_at",
            "gone_at",
            "kid",
            "retires_at",
            "revoked_at",
            "sealed_under",
            "state"
        ]
    );
    let next = jeton.database.keys("signing").await.remove(1);
    assert_eq!(next.activates_at - next.created_at, 2 * 600 + 60);
    assert_eq!((&keys[1]["kid"], &keys[1]["state"]), (&json!(next.kid), &json!("published")));
    assert_eq!(keys[0]["retires_at"], next.activates_at);
    assert_eq!(keys[0]["gone_at"], next.activates_at + 3_600 + 60 + 600);
    let master = std::fs::read(&jeton.fixtures.master_key).expect("the master key");
    let master: Value = serde_json::from_slice(&master).expect("JSON");
    assert_eq!(keys[0]["sealed_under"], master["kid"]);

    let (_, printed) = jeton.key(&["list"]).await;
    let (table, picture) = printed.split_once("\n\n").expect("a table and a picture");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("KID") && lines.len() == 3, "{table}");
    for (line, key, state) in [(lines[1], &row, "signing"), (lines[2], &next, "published")] {
        assert!(line.starts_with(&key.kid) && line.contains(state), "{line}");
    }
    let bars: Vec<&str> = picture.lines().collect();
    assert!(bars[1].contains("\u{25bc} now"), "{picture}");
    assert!(bars[2].starts_with(&row.kid[..12]) && bars[2].contains('\u{2588}'), "{picture}");
    assert!(bars[3].starts_with(&next.kid[..12]) && bars[3].contains('\u{2591}'), "{picture}");
    assert!(bars[4].contains("published") && bars[4].contains("verifies"), "{picture}");

    assert_eq!(states(&jeton, &["--refresh"]).await[0].1, "deriving");
    jeton.key(&["rotate", "--refresh"]).await;
    let refresh: Vec<String> =
        states(&jeton, &["--refresh"]).await.into_iter().map(|key| key.1).collect();
    assert_eq!(refresh, ["deriving", "waiting"]);
}

/// A rotation says when the next key will sign and that nothing breaks; while one is announced there is
/// no other.
#[tokio::test]
async fn a_rotation_is_announced_and_breaks_nothing() {
    let jeton = jeton().await;
    let cached = KeySet::of(jeton.service.public).await;
    let (said, printed) = jeton.key(&["rotate", "--yes"]).await;
    let next = jeton.database.keys("signing").await.remove(1);
    for part in ["published now", "nothing breaks"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let signs = jeton_oauth::Timestamp(next.activates_at).to_string();
    assert!(printed.contains(&next.kid) && printed.contains(&signs), "{printed}");
    assert_eq!(KeySet::of(jeton.service.public).await.kids(), [cached.kids()[0], &*next.kid]);
    assert!(cached.verifies(&jeton.access_token().await));
    refuses(&jeton, &["rotate", "--yes"], &[&next.kid, &signs, "--emergency"]).await;

    jeton.wait_until(next.activates_at);
    jeton.service.reload().await;
    assert_eq!(kid_of(&jeton.access_token().await), next.kid);
}

/// In an emergency the next key signs at once: one that is published if there is one, else a new one.
/// The command says for how long verifiers may lack it.
#[tokio::test]
async fn an_emergency_does_not_wait_and_says_what_it_costs() {
    let jeton = jeton().await;
    let (said, _) = jeton.key(&["rotate", "--emergency", "--yes"]).await;
    for part in ["A new key", "sign now", "For up to 10m", "refuse new tokens"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let kids: Vec<String> = states(&jeton, &[]).await.into_iter().map(|key| key.0).collect();
    assert_eq!(kids.len(), 2);
    assert_eq!(kid_of(&jeton.access_token().await), kids[1]);

    jeton.key(&["rotate", "--yes"]).await;
    let announced = jeton.database.keys("signing").await.remove(2);
    let (said, _) = jeton.key(&["rotate", "--emergency", "--yes"]).await;
    for part in [&announced.kid, "published already", "For up to", "refuse new tokens"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(jeton.database.keys("signing").await.len(), 3, "none was made");
    jeton.clock.jump(2);
    jeton.service.reload().await;
    assert_eq!(kid_of(&jeton.access_token().await), announced.kid);

    // Once every cache has it, nothing breaks.
    jeton.key(&["rotate", "--yes"]).await;
    let aged = "UPDATE keys SET created_at = created_at - 600 WHERE generation = 4";
    jeton.database.query(aged).await;
    let (said, _) = jeton.key(&["rotate", "--emergency", "--yes"]).await;
    assert!(said.contains("nothing breaks") && !said.contains("refuse"), "{said}");
    let keys = jeton.database.keys("signing").await;
    let begins: HashSet<i64> = keys.iter().map(|key| key.activates_at).collect();
    assert_eq!(begins.len(), keys.len(), "no two begin at the same moment, however fast: {keys:?}");
}

/// On a database without keys there is nothing to list or export; a rotation makes the first key, and
/// the service that is started then signs with it.
#[tokio::test]
async fn a_database_without_keys_is_no_trouble() {
    let database = Database::migrated(ENGINE).await;
    let master_key = database.path("keys/master.jwk");
    let key = |arguments: &[&str]| {
        let output = key_command(&database, &master_key, arguments, "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(key(&["list", "--json"]).trim(), "[]");
    assert!(key(&["list"]).starts_with("KID"));
    let exported: Value = serde_json::from_str(&key(&["export", "--public"])).expect("JSON");
    assert_eq!(exported, json!({"keys": []}));
    assert!(key(&["rewrap", "--yes"]).contains("0 keys"));
    key(&["rotate", "--yes"]);
    let made = database.keys("signing").await.remove(0).kid;
    let arguments = ["--database", &database.url, "--master-key-file", &master_key];
    let service = Executable::serve(&arguments);
    assert_eq!(KeySet::of(service.public).await.kids(), [made]);
    let (status, answer) = readiness(service.management).await;
    assert_eq!((status, &answer["signing_key"]), (200, &json!("usable")));
}

/// RFC 7517 §9.1; RFC 7662 §4: a key that is withdrawn is gone from the set, its tokens are inactive,
/// and another signs. Sessions go on. [K-24] [I-22]
#[tokio::test]
async fn a_withdrawn_key_is_good_for_nothing() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let login = jeton.login_through("web", "").await;
    let (token, refresh_token) = (login.access_token(), login.refresh_token());
    let first = kid_of(&token);
    assert!(jeton.is_active(&token).await);
    let (said, _) = jeton.key(&["revoke", &first, "--yes"]).await;
    for part in ["leaves the JWKS now", "inactive at introspection", "up to 10m", "A new key"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    replica.reload().await;
    for service in [&jeton.service, &replica] {
        let set = KeySet::of(service.public).await;
        assert!(!set.kids().contains(&&*first) && set.kids().len() == 1, "{:?}", set.kids());
        let token = jeton.access_token_of(service).await;
        assert!(set.verifies(&token) && kid_of(&token) != first);
        assert!(jeton.is_active(&token).await);
    }
    assert!(!jeton.is_active(&token).await);
    let form = format!("grant_type=refresh_token&refresh_token={refresh_token}");
    let refreshed = jeton.token(&form).await.access_token();
    assert_ne!(kid_of(&refreshed), first, "the session goes on with another key");
    refuses(&jeton, &["revoke", &first, "--yes"], &[&first, "was revoked"]).await;
    refuses(&jeton, &["revoke", "no-such-key", "--yes"], &["no-such-key", "key list"]).await;

    // One that is announced, and one that only verifies: nothing else changes.
    let second = kid_of(&refreshed);
    jeton.key(&["rotate", "--yes"]).await;
    let announced = jeton.database.keys("signing").await.remove(2).kid;
    jeton.key(&["revoke", &announced, "--yes"]).await;
    assert_eq!(KeySet::of(jeton.service.public).await.kids(), [&*second]);
    assert!(jeton.is_active(&refreshed).await);
    jeton.key(&["rotate", "--emergency", "--yes"]).await;
    let third = kid_of(&jeton.access_token().await);
    assert_ne!(third, second);
    assert!(jeton.is_active(&refreshed).await, "it still verifies");
    let (said, _) = jeton.key(&["revoke", &second, "--yes"]).await;
    assert!(!said.contains("A new key"), "{said}");
    assert!(!jeton.is_active(&refreshed).await);
    assert_eq!(kid_of(&jeton.access_token().await), third);
    let listed: Vec<String> = states(&jeton, &[]).await.into_iter().map(|key| key.1).collect();
    assert_eq!(listed, ["revoked", "revoked", "revoked", "signing"]);
}

/// A refresh key that is withdrawn takes with it what it derived; a new one is there at once. One that
/// is only followed goes on verifying.
#[tokio::test]
async fn a_withdrawn_refresh_key_ends_its_tokens_only() {
    let jeton = jeton().await;
    let refresh = async |token: &str| {
        jeton.token(&format!("grant_type=refresh_token&refresh_token={token}")).await
    };
    let login = jeton.login_through("web", "").await;
    let (old, access) = (login.refresh_token(), login.access_token());
    let kid = jeton.database.keys("refresh").await.remove(0).kid;
    let (said, _) = jeton.key(&["revoke", &kid, "--yes"]).await;
    for part in [&kid, "must log in again", "Access tokens stay good"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    refresh(&old).await.assert_error(400, "invalid_grant");
    assert!(jeton.is_active(&access).await);
    let login = jeton.login_through("web", "").await;
    let kept = refresh(&login.refresh_token()).await.member("refresh_token");
    assert_eq!(jeton.database.keys("refresh").await.len(), 2);

    let (_, printed) = jeton.key(&["rotate", "--refresh"]).await;
    assert!(printed.contains("stay good"), "{printed}");
    jeton.clock.advance(120);
    jeton.service.reload().await;
    refresh(&kept).await.access_token();
    assert_eq!(jeton.database.keys("refresh").await.len(), 3);
}

/// Where there is nobody to ask, nothing is done without `--yes`; what would happen is said.
#[tokio::test]
async fn without_a_terminal_nothing_is_done_unasked() {
    let jeton = jeton().await;
    let signing = jeton.database.keys("signing").await.remove(0).kid;
    let refresh = jeton.database.keys("refresh").await.remove(0).kid;
    for (arguments, says) in [
        (vec!["rotate"], "nothing breaks"),
        (vec!["rotate", "--emergency"], "refuse new tokens"),
        (vec!["revoke", &signing], "leaves the JWKS now"),
        (vec!["revoke", &refresh], "must log in again"),
        (vec!["rewrap"], "Verifiers notice nothing"),
    ] {
        refuses(&jeton, &arguments, &[says, "--yes", "nothing was changed"]).await;
    }
}

/// At a terminal, only a yes is a yes.
#[tokio::test]
async fn at_a_terminal_whoever_says_no_changes_nothing() {
    let jeton = jeton().await;
    let master_key = jeton.fixtures.master_key.display().to_string();
    let rotate = format!(
        "{} key rotate --database '{}' --master-key-file '{master_key}'",
        env!("CARGO_BIN_EXE_jeton"),
        jeton.database.url
    );
    for (answer, code, count) in [("\n", 1, 1), ("n\n", 1, 1), ("y\n", 0, 2)] {
        // `script` lends the command a terminal.
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &rotate, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        let mut input = child.stdin.take().expect("it was piped");
        std::io::Write::write_all(&mut input, answer.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        drop(input);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{answer:?}: {said}");
        assert!(said.contains("Go on? [y/N]") && said.contains("nothing breaks"), "{said}");
        assert_eq!(jeton.database.keys("signing").await.len(), count, "{answer:?}");
    }
}

/// What is exported is what is served, for programs and for OpenSSL; nothing that the commands print
/// holds a private part.
#[tokio::test]
async fn only_public_halves_are_exported() {
    let jeton = jeton().await;
    let mut all = String::new();
    let mut print = async |arguments: &[&str]| {
        let (said, printed) = jeton.key(arguments).await;
        all.extend([said.as_str(), &printed]);
        printed
    };
    print(&["rotate", "--yes"]).await;
    let set = KeySet::of(jeton.service.public).await;
    let exported = print(&["export", "--public"]).await;
    assert_eq!(serde_json::from_str::<Value>(&exported).expect("JSON"), set.json);
    let one = print(&["export", "--public", set.kids()[1]]).await;
    assert_eq!(serde_json::from_str::<Value>(&one).expect("JSON"), set.json["keys"][1]);
    let both = print(&["export", "--public", "--pem"]).await;
    assert_eq!(both.matches("-----BEGIN PUBLIC KEY-----").count(), 2);
    let pem = print(&["export", "--public", "--pem", set.kids()[0]]).await;
    assert!(both.starts_with(&pem));
    let file = jeton.database.path("public.pem");
    std::fs::write(&file, &pem).expect("a file");
    let read = Command::new("openssl")
        .args(["rsa", "-pubin", "-noout", "-modulus", "-in", &file])
        .output()
        .expect("openssl runs");
    assert!(read.status.success(), "{read:?}");
    let key = ServiceKey::of(&jeton).await;
    let n = set.json["keys"][0]["n"].as_str().expect("a modulus");
    let octets = URL_SAFE_NO_PAD.decode(n).expect("base64url");
    let modulus = BigNum::from_slice(&octets).expect("memory").to_hex_str().expect("memory");
    assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), format!("Modulus={modulus}"));

    print(&["list"]).await;
    print(&["list", "--json"]).await;
    print(&["list", "--refresh", "--json"]).await;
    print(&["revoke", set.kids()[1], "--yes"]).await;
    print(&["rewrap", "--yes"]).await;
    for name in ["d", "p", "q", "dp", "dq", "qi"] {
        let part = key.jwk.parameter(name).and_then(Value::as_str).expect("a member");
        assert!(!all.contains(part) && !all.contains(&format!("\"{name}\":")), "{name} in {all}");
    }
    assert!(!all.contains("PRIVATE"), "{all}");
    refuses(&jeton, &["export", "--public", "no-such-key"], &["no-such-key", "key list"]).await;
    let unsaid = command(&["key", "export", "--database", &jeton.database.url]).output();
    assert_eq!(unsaid.expect("it runs").status.code(), Some(2), "--public must be said");
}

/// Fetches a service's key set until it has this many keys.
async fn keys_come_to_be(service: &Executable, count: usize) {
    let patience = Instant::now() + Duration::from_mins(1);
    while KeySet::of(service.public).await.kids().len() != count {
        assert!(Instant::now() < patience, "it never publishes {count} keys");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Replicas that run take over by themselves what the command line changes, and also when told to.
#[tokio::test]
async fn a_running_service_follows_the_commands() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let mut replicas = [
        Executable::serve_on(&database, fixtures, &[]),
        Executable::serve_on(&database, fixtures, &[]),
    ];
    let master_key = fixtures.master_key.display().to_string();
    let key = |arguments: &[&str]| {
        let output = key_command(&database, &master_key, arguments, "");
        assert!(output.status.success(), "{output:?}");
    };
    key(&["rotate", "--yes"]);
    for replica in &replicas {
        keys_come_to_be(replica, 2).await;
    }
    key(&["revoke", &database.keys("signing").await[1].kid, "--yes"]);
    for replica in &replicas {
        replica.signal("HUP");
        keys_come_to_be(replica, 1).await;
    }
    key(&["rotate", "--emergency", "--yes"]);
    let made = database.keys("signing").await.remove(2).kid;
    for replica in &mut replicas {
        keys_come_to_be(replica, 2).await;
        let log = replica.stop_and_read_log();
        let changed = |line: &str| line.contains("signing_key_changed") && line.contains(&made);
        assert!(log.lines().any(changed), "{log}");
    }
}
