//! Master keys: another one takes over while the service runs, and what happens to those that are
//! wrong. What stops a start is in `start_up.rs`.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwe;
use openssl::bn::BigNum;
use serde_json::{Value, json};

use super::*;
use crate::harness::executable::serve_in_vain;
use crate::harness::forge::ServiceKey;
use crate::harness::keys::{KeySet, key_command, kid_of};
use crate::harness::{Database, Executable};

/// The usual settings, in seconds: how long a key signs, and is published before.
const ROTATION: i64 = 30 * 86_400;
const LEAD: i64 = 2 * 600 + 60;

/// The name of the master key in a file.
fn kid_in(file: &str) -> String {
    let text = std::fs::read(file).expect("a master key");
    let file: Value = serde_json::from_slice(&text).expect("JSON");
    file["kid"].as_str().expect("a name").to_owned()
}

/// The names of the master keys that the keys in the database are sealed under.
async fn sealed_under(database: &Database) -> Vec<String> {
    let rows = database.query("SELECT sealed_key FROM keys ORDER BY created_at, kid").await;
    let name = |row: &Vec<Option<String>>| {
        let header = row[0].as_deref().and_then(|sealed| sealed.split('.').next()).expect("a JWE");
        let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
        let header: Value = serde_json::from_slice(&header).expect("JSON");
        header["kid"].as_str().expect("a name").to_owned()
    };
    rows.iter().map(name).collect()
}

/// Seals all keys anew; what was said and printed.
fn rewrap(database: &Database, files: &str) -> String {
    let output = key_command(database, files, &["rewrap", "--yes"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said + &String::from_utf8_lossy(&output.stdout)
}

/// A service with a master key file of its own, which can be replaced.
async fn with_own_file() -> (Jeton, String) {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let file = database.path("own.jwk");
    std::fs::copy(&fixtures.master_key, &file).expect("a copy");
    let clock = crate::harness::service::clock();
    let arguments = ["--database", &database.url, "--master-key-file", &file];
    let settings = crate::harness::service::settings(&arguments);
    let service = jeton::cli::serve::Service::start(settings, clock.clone());
    let service = service.await.expect("it starts");
    (Jeton { service, clock, fixtures, database }, file)
}

/// Every key is sealed anew while a service runs, under a master key that is made for it: the service
/// goes on, and makes and opens its next keys with the file that took the place of the old one. What was
/// done can be undone.
#[tokio::test]
async fn another_master_key_takes_over_while_the_service_runs() {
    let (jeton, file) = with_own_file().await;
    let old = jeton.fixtures.master_key.display().to_string();
    let new = jeton.database.path("keys/new.jwk");
    let token = jeton.access_token().await;
    let set = KeySet::of(jeton.service.public).await;
    let said = rewrap(&jeton.database, &format!("{new},{old}"));
    assert!(said.contains("3 keys") && said.contains(&kid_in(&new)), "{said}");
    assert!(said.contains("Verifiers notice nothing"), "{said}");
    assert_ne!(kid_in(&new), kid_in(&old));
    let mode = std::fs::metadata(&new).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for its owner only");
    assert_eq!(sealed_under(&jeton.database).await, vec![kid_in(&new); 3]);

    jeton.service.reload().await;
    assert_eq!(jeton.number("jeton_reload_failures_total").await, 0, "what is open stays open");
    assert_eq!(KeySet::of(jeton.service.public).await.json, set.json);
    assert!(jeton.is_active(&token).await);
    assert_eq!(kid_of(&jeton.access_token().await), kid_of(&token));

    jeton.wait_until(jeton.database.keys("signing").await[0].activates_at + ROTATION - LEAD);
    jeton.service.reload().await;
    assert_eq!(
        sealed_under(&jeton.database).await,
        vec![kid_in(&new); 3],
        "none under the old one"
    );
    std::fs::copy(&new, &file).expect("the new one takes its place");
    jeton.service.reload().await;
    jeton.clock.advance(LEAD);
    jeton.service.reload().await;
    let next = jeton.database.keys("signing").await.remove(1);
    assert_eq!(kid_of(&jeton.access_token().await), next.kid);
    assert_eq!(sealed_under(&jeton.database).await, vec![kid_in(&new); 4]);

    // Another service needs the new one, and only that.
    let url = &jeton.database.url;
    drop(Executable::serve(&["--database", url, "--master-key-file", &new]));
    let (code, said) = serve_in_vain(&["--database", url, "--master-key-file", &old]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&kid_in(&new)) && said.contains("--master-key-file"), "{said}");

    // Back again, and twice is as good as once.
    let said = rewrap(&jeton.database, &format!("{old},{new}"));
    assert!(said.contains("4 keys") && said.contains(&kid_in(&old)), "{said}");
    assert_eq!(sealed_under(&jeton.database).await, vec![kid_in(&old); 4]);
    let before = jeton.database.dump().await;
    assert!(rewrap(&jeton.database, &old).contains("0 keys"));
    assert_eq!(jeton.database.dump().await, before);
}

/// A rewrap that cannot open every key changes none and makes no file; it names what is missing.
#[tokio::test]
async fn a_rewrap_is_all_or_nothing() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let right = fixtures.master_key.display().to_string();
    let other = Database::empty(ENGINE).await;
    let wrong = other.path("wrong.jwk");
    drop(Executable::serve(&["--database", &other.url, "--master-key-file", &wrong]));
    let (new, garbage) = (database.path("new.jwk"), database.path("garbage.jwk"));
    std::fs::write(&garbage, "no key").expect("a file");
    let missing = database.path("missing.jwk");
    let before = database.dump().await;
    let refuses = |files: &str, says: &str| {
        let output = key_command(&database, files, &["rewrap", "--yes"], "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{files}: {said}");
        assert!(said.contains(says) && said.contains("--master-key-file"), "{says} in {said}");
    };
    for (files, says) in [
        (wrong.clone(), kid_in(&right)),
        (format!("{new},{wrong}"), kid_in(&right)),
        (format!("{new},{missing}"), missing.clone()),
        (format!("{new},{garbage}"), garbage.clone()),
        (format!("{garbage},{right}"), garbage.clone()),
        (missing.clone(), kid_in(&right)),
        (format!("{garbage}/new.jwk,{right}"), "cannot make".to_owned()),
    ] {
        refuses(&files, &says);
        assert!(!std::path::Path::new(&new).exists(), "{files}");
    }
    // One of them is damaged: the others are not touched either.
    for purpose in ["signing", "refresh", "throttle"] {
        let sealed = format!("SELECT sealed_key FROM keys WHERE purpose = '{purpose}'");
        let sealed = database.query(&sealed).await[0][0].clone().expect("a JWE");
        let set = |value: String| {
            format!("UPDATE keys SET sealed_key = '{value}' WHERE purpose = '{purpose}'")
        };
        database.query(&set(sealed[..sealed.len() - 4].to_owned())).await;
        let damaged = database.dump().await;
        for files in [format!("{new},{right}"), format!("{wrong},{right}")] {
            let output = key_command(&database, &files, &["rewrap", "--yes"], "");
            assert_eq!(output.status.code(), Some(1), "{purpose}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("backup"), "{output:?}");
        }
        assert_eq!(database.dump().await, damaged, "{purpose}");
        database.query(&set(sealed)).await;
    }
    assert!(!std::path::Path::new(&new).exists());
    assert_eq!(database.dump().await, before);
}

/// A running service whose master key file is lost or wrong goes on with the keys in hand, says so, and
/// makes its next key when the right file is back.
#[tokio::test]
async fn a_running_service_survives_the_loss_of_its_master_key() {
    let (jeton, file) = with_own_file().await;
    let right = std::fs::read(&file).expect("the master key");
    let first = jeton.database.keys("signing").await.remove(0);
    jeton.wait_until(first.activates_at + ROTATION - LEAD);
    for content in [None, Some("no key"), Some("")] {
        match content {
            None => std::fs::remove_file(&file).expect("it was there"),
            Some(text) => std::fs::write(&file, text).expect("a file"),
        }
        let failures = jeton.number("jeton_reload_failures_total").await;
        jeton.service.reload().await;
        assert!(jeton.number("jeton_reload_failures_total").await > failures, "{content:?}");
        assert_eq!(
            jeton.database.keys("signing").await,
            std::slice::from_ref(&first),
            "{content:?}"
        );
        assert!(content.is_some() || !std::path::Path::new(&file).exists(), "none is made");
        assert_eq!(kid_of(&jeton.access_token().await), first.kid);
    }
    std::fs::write(&file, right).expect("the right one is back");
    jeton.service.reload().await;
    assert_eq!(KeySet::of(jeton.service.public).await.kids().len(), 2);
}

/// When no copy of the master key is left, one command revokes what it sealed, and the service starts under a new one:
/// the old tokens are refused, and users log in again. What can be decrypted is not revoked.
#[tokio::test]
async fn a_service_whose_master_key_is_lost_starts_under_another() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let new = database.path("new.jwk");
    let revoke = |files: &str| {
        let output = key_command(&database, files, &["revoke", "--lost", "--yes"], "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said + &String::from_utf8_lossy(&output.stdout))
    };
    let before = database.dump().await;
    let right = fixtures.master_key.display().to_string();
    let (code, said) = revoke(&right);
    assert!(code == Some(1) && said.contains("nothing was changed"), "{said}");
    let (code, said) = revoke(&new);
    assert!(code == Some(1) && said.contains(&new), "{said}");
    assert_eq!(database.dump().await, before);

    let other = Database::empty(ENGINE).await;
    drop(Executable::serve(&["--database", &other.url, "--master-key-file", &new]));
    let (code, said) = serve_in_vain(&["--database", &database.url, "--master-key-file", &new]);
    assert!(code == Some(1) && said.contains("jeton key revoke --lost"), "{said}");
    let (code, said) = revoke(&new);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 keys") && said.contains("everybody logs in again"), "{said}");
    drop(Executable::serve(&["--database", &database.url, "--master-key-file", &new]));
    let sealed = sealed_under(&database).await;
    assert_eq!(sealed.iter().filter(|master| **master == kid_in(&new)).count(), 3, "{sealed:?}");
    let (code, said) = revoke(&new);
    assert!(code == Some(1) && said.contains("nothing was changed"), "{said}");
}

/// Keys that were withdrawn are not opened, so that one whose master key is gone too stops no start.
#[tokio::test]
async fn a_withdrawn_key_need_not_open() {
    let jeton = jeton().await;
    for purpose in ["signing", "refresh", "throttle"] {
        let kid = jeton.database.keys(purpose).await.remove(0).kid;
        jeton.key(&["revoke", &kid, "--yes"]).await;
        let damage = format!("UPDATE keys SET sealed_key = 'a.b.c.d.e' WHERE kid = '{kid}'");
        jeton.database.query(&damage).await;
    }
    let replica = jeton.replica().await;
    let token = jeton.access_token_of(&replica).await;
    assert!(KeySet::of(jeton.service.public).await.verifies(&token));
    jeton.service.reload().await;
    assert_eq!(jeton.number("jeton_reload_failures_total").await, 0);
}

/// ASVS 5.0 §13.3: nothing in the database but the sealed keys holds anything of the private ones, of
/// whatever kind and state, in any spelling. [K-30] [S-03]
#[tokio::test]
async fn a_dump_holds_no_private_key() {
    let jeton = jeton().await;
    jeton.key(&["rotate", "--yes"]).await;
    jeton.key(&["rotate", "--refresh"]).await;
    jeton.key(&["revoke", &jeton.database.keys("signing").await[0].kid, "--yes"]).await;
    let dump = jeton.database.dump().await;
    let master = std::fs::read(&jeton.fixtures.master_key).expect("the master key");
    let master: Value = serde_json::from_slice(&master).expect("JSON");
    let master = URL_SAFE_NO_PAD.decode(master["k"].as_str().expect("a key")).expect("base64url");
    let rows = jeton.database.query("SELECT purpose, sealed_key FROM keys").await;
    assert_eq!(rows.len(), 5);
    let mut secrets = vec![("the master key", master.clone())];
    for row in rows {
        let decrypter = jwe::Dir.decrypter_from_bytes(&master).expect("256 bits");
        let sealed = row[1].clone().expect("a JWE");
        let (secret, _) = jwe::deserialize_compact(&sealed, &decrypter).expect("it opens");
        if row[0].as_deref() != Some("signing") {
            assert_eq!(secret.len(), 32);
            secrets.push(("a refresh key, or the throttle key", secret));
            continue;
        }
        let jwk: Value = serde_json::from_slice(&secret).expect("a JWK");
        for name in ["d", "p", "q", "dp", "dq", "qi"] {
            let member = jwk[name].as_str().expect("a member");
            secrets.push((name, URL_SAFE_NO_PAD.decode(member).expect("base64url")));
        }
    }
    for (name, octets) in secrets {
        let hex = BigNum::from_slice(&octets).expect("memory").to_hex_str().expect("memory");
        let standard = base64::engine::general_purpose::STANDARD.encode(&octets);
        let url = URL_SAFE_NO_PAD.encode(&octets);
        for spelling in [hex.to_lowercase(), hex.to_string(), standard, url] {
            // A part of it would be too much.
            assert!(!dump.contains(&spelling[..20]), "{name}");
        }
    }
    let key = ServiceKey::of(&jeton).await;
    assert!(dump.contains(key.jwk.parameter("n").and_then(Value::as_str).expect("n")));
    assert_eq!(key.jwk.parameter("kty"), Some(&json!("RSA")));
}
