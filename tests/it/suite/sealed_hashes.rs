//! `jeton user seal`: stored password hashes under a data key.

use std::collections::HashSet;

use super::*;
use crate::harness::database::Fixtures;
use crate::harness::keys::key_command;
use crate::harness::{Database, Engine, Executable, run_with_input};
use std::process::Output;

/// A recovery key, as `age-keygen` made it.
pub(super) const IDENTITY: &str =
    "AGE-SECRET-KEY-1ZNVHAHRXM3ATAAU56EH7M2F77P86X6AY9SXSY9W9JX7YQGACGUVQGK7DSP";
pub(super) const RECIPIENT: &str = "age1nlpcleqk4kma2kuqaljx7enn59g3w892ygdsfpggs0xatrvdcqzqetvweq";

/// bcrypt of `secret`.
pub(super) const WEAK: &str = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";

/// Runs a command on a database with the master key of its service.
fn command_on(database: &Database, fixtures: &Fixtures, arguments: &[&str], input: &str) -> Output {
    let master = fixtures.master_key.display().to_string();
    let place = ["--database", &database.url, "--master-key-file", &master];
    run_with_input(&[arguments, &place].concat(), input)
}

fn command(jeton: &Jeton, arguments: &[&str], input: &str) -> Output {
    command_on(&jeton.database, jeton.fixtures, arguments, input)
}

/// Runs a command, which must succeed: what it printed.
pub(super) fn succeed_on(
    database: &Database,
    fixtures: &Fixtures,
    arguments: &[&str],
    input: &str,
) -> String {
    let output = command_on(database, fixtures, arguments, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub(super) fn succeed(jeton: &Jeton, arguments: &[&str], input: &str) -> String {
    succeed_on(&jeton.database, jeton.fixtures, arguments, input)
}

/// The stored hashes by the user's name.
pub(super) async fn stored(database: &Database) -> Vec<(String, String)> {
    let rows = "SELECT username, password_hash FROM users ORDER BY username";
    let rows = database.query(rows).await;
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        (row.next().expect("a name"), row.next().expect("a hash"))
    };
    rows.into_iter().map(pair).collect()
}

/// All are sealed under one data key and have one length.
pub(super) async fn assert_sealed(database: &Database) {
    let stored = stored(database).await;
    let keys: HashSet<_> = stored.iter().map(|(_, hash)| hash.split('$').nth(2)).collect();
    assert_eq!(keys.len(), 1, "{stored:?}");
    for (name, hash) in &stored {
        assert!(hash.starts_with("$sealed$") && hash.len() == 571, "{name}: {hash}");
    }
}

/// Every hash is sealed while a service runs, and its logins, their better hashes and what commands write go on. The
/// hashes are as they were after `jeton user unseal`. The data key has a name, and can be replaced. [W-11]
#[tokio::test]
async fn hashes_are_sealed_and_opened_beside_a_running_service() {
    let jeton = jeton().await;
    let file = format!("username,password_hash\nweak,\"{WEAK}\"\n");
    succeed(&jeton, &["user", "import", "-"], &file);
    let before = stored(&jeton.database).await;
    let replica = jeton.replica().await;

    let seal = ["user", "seal", "--recovery-recipient", RECIPIENT, "--yes"];
    succeed(&jeton, &seal, "");
    assert_sealed(&jeton.database).await;
    let of = |stored: &[(String, String)], name: &str| {
        stored.iter().find(|(own, _)| own == name).map(|(_, hash)| hash.clone()).expect("a user")
    };
    let sealed = of(&stored(&jeton.database).await, "weak");
    let shown = succeed(&jeton, &["user", "show", "weak"], "");
    assert!(shown.contains("bcrypt cost 12, sealed"), "{shown}");
    assert!(succeed(&jeton, &["user", "export"], "").contains(WEAK));

    assert_eq!(jeton.token(&login_form("weak", "wrong")).await.status, 400);
    assert_eq!(jeton.token(&login_form("weak", "secret")).await.status, 200);
    let upgraded = of(&stored(&jeton.database).await, "weak");
    assert_ne!(upgraded, sealed, "a better hash");
    let new = ["user", "add", "new", "--password-stdin"];
    succeed(&jeton, &new, "thursday moss candle\n");
    succeed(&jeton, &["user", "passwd", "bob", "--password-stdin"], "wednesday moss candle\n");
    let line = format!("{{\"username\":\"applied\",\"password_hash\":\"{WEAK}\"}}\n");
    succeed(&jeton, &["user", "apply", "-"], &line);
    let file = format!("username,password_hash\nimported,\"{WEAK}\"\n");
    let report = succeed(&jeton, &["user", "import", "-"], &file);
    assert!(report.contains("All hashes are sealed here"), "{report}");
    assert_sealed(&jeton.database).await;
    for (name, password) in [
        ("new", "thursday moss candle"),
        ("bob", "wednesday moss candle"),
        ("applied", "secret"),
        ("imported", "secret"),
    ] {
        assert_eq!(jeton.token(&login_form(name, password)).await.status, 200, "{name}");
        let form = crate::harness::Request::new(replica.public, "POST", "/token");
        let form = form.form(&login_form(name, password));
        let form = form.basic("web", jeton.fixtures.secret("web"));
        assert_eq!(form.send().await.status, 200, "{name} at the other replica");
    }

    succeed(&jeton, &["user", "seal", "--new-key", "--no-recovery", "--yes"], "");
    assert_sealed(&jeton.database).await;
    assert_eq!(jeton.token(&login_form("alice", PASSWORD)).await.status, 200);
    let keys = "SELECT kid FROM keys WHERE purpose = 'data'";
    assert_eq!(jeton.database.query(keys).await.len(), 1, "the old key was deleted");

    succeed(&jeton, &["user", "unseal", "--yes"], "");
    let after = stored(&jeton.database).await;
    for name in ["disabled", "mfa"] {
        assert_eq!(of(&after, name), of(&before, name));
    }
    assert!(after.iter().all(|(_, hash)| !hash.starts_with("$sealed$")), "{after:?}");
    assert_eq!(jeton.database.query(keys).await.len(), 0);
    assert_eq!(jeton.token(&login_form("bob", "wednesday moss candle")).await.status, 200);
}

/// A run that was interrupted leaves some hashes sealed and some not: everybody logs in, and the next run goes on. The
/// hash of one user in the row of another opens nothing.
#[tokio::test]
async fn sealing_goes_on_after_an_interruption_and_binds_each_hash_to_its_user() {
    let jeton = jeton().await;
    let plain = stored(&jeton.database).await;
    let hash = &plain.iter().find(|(name, _)| name == "alice").expect("alice").1;
    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    let undo = format!("UPDATE users SET password_hash = '{hash}' WHERE username = 'alice'");
    jeton.database.query(&undo).await;
    for name in ["alice", "bob"] {
        assert_eq!(jeton.token(&login_form(name, PASSWORD)).await.status, 200, "{name}");
    }
    let said = succeed(&jeton, &["user", "seal", "--yes"], "");
    assert!(said.contains("1 hashes were sealed"), "{said}");
    assert_sealed(&jeton.database).await;

    let sealed = stored(&jeton.database).await;
    let of_bob = &sealed.iter().find(|(name, _)| name == "bob").expect("bob").1;
    let swap = format!("UPDATE users SET password_hash = '{of_bob}' WHERE username = 'alice'");
    jeton.database.query(&swap).await;
    jeton.token(&login_form("alice", PASSWORD)).await.assert_error(400, "invalid_grant");
    let output = command(&jeton, &["user", "unseal", "--yes"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 hashes do not open"), "{said}");
}

/// The drill for a lost master key: nothing judges a password until the recovery key has opened the data key for a new
/// master key; then every password is what it was.
#[tokio::test]
async fn the_recovery_key_opens_the_hashes_when_the_master_key_is_lost() {
    let jeton = jeton().await;
    let seal = ["user", "seal", "--recovery-recipient", RECIPIENT, "--yes"];
    succeed(&jeton, &seal, "");
    let Jeton { service, fixtures, database, .. } = jeton;
    service.stop().await;

    let new = database.path("new.jwk");
    let run = |arguments: &[&str]| {
        let output = key_command(&database, &new, arguments, "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said + &String::from_utf8_lossy(&output.stdout))
    };
    let made = run_with_input(&["key", "init", "--master-key-file", &new], "");
    assert!(made.status.success());
    let other = database.path("other.txt");
    std::fs::write(&other, RECIPIENT).expect("a file");
    let (code, said) = run(&["recover", "--identity", &other, "--yes"]);
    assert!(code == Some(1) && said.contains("AGE-SECRET-KEY-1"), "{said}");
    std::fs::write(&other, "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n").expect("a file");
    let (code, said) = run(&["recover", "--identity", &other, "--yes"]);
    assert!(code == Some(1) && said.contains("it is encrypted"), "{said}");
    // A data key of before, which no recovery key opens, does not keep the one that matters closed.
    let old = "INSERT INTO keys (kid, purpose, generation, public_jwk, sealed_key, created_at, activates_at, revoked_at) \
               VALUES ('of-before', 'data', 99, '{}', 'x', 1, 1, 2)";
    database.query(old).await;
    let identity = database.path("recovery.txt");
    std::fs::write(&identity, format!("# a comment\n{IDENTITY}\n")).expect("a file");
    let (code, said) = run(&["recover", "--identity", &identity, "--yes"]);
    assert!(code == Some(0) && said.contains("was recovered"), "{said}");
    assert!(said.contains("of-before was sealed for no recovery key"), "{said}");
    let (code, said) = run(&["revoke", "--lost", "--yes"]);
    assert!(code == Some(0) && !said.contains("data key"), "{said}");

    let arguments = ["--database", &database.url, "--master-key-file", &new];
    let mut service = Executable::serve(&arguments);
    let form = login_form("alice", PASSWORD);
    let request = crate::harness::Request::new(service.public, "POST", "/token").form(&form);
    let reply = request.basic("web", fixtures.secret("web")).send().await;
    assert_eq!(reply.status, 200, "{}", service.log());
    service.stop_and_read_log();
}

/// A replica that cannot open the data key refuses to judge: never «wrong password».
#[tokio::test]
async fn without_the_data_key_no_password_is_judged() {
    let jeton = jeton().await;
    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    jeton.database.query("UPDATE keys SET sealed_key = 'x' WHERE purpose = 'data'").await;
    // The first replica may have opened it already.
    let replica = jeton.replica().await;
    for (name, password) in [("alice", PASSWORD), ("alice", "wrong"), ("nobody", "wrong")] {
        let request =
            jeton.post_as("web", "/token", &login_form(name, password)).at(replica.public);
        assert_eq!(request.send().await.status, 503, "{name}");
    }
    let (status, said) = readiness(replica.management).await;
    assert_eq!((status, &said["data_key"]), (503, &serde_json::json!("missing")));
    for arguments in [
        &["user", "unseal", "--yes"][..],
        &["user", "add", "new", "--password-stdin"],
        &["user", "export"],
    ] {
        let output = command(&jeton, arguments, "thursday moss candle\n");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("data key"), "{said}");
    }
}

/// Who declines recovery says so. A secret half is refused.
#[tokio::test]
async fn sealing_asks_who_can_recover() {
    let jeton = jeton().await;
    let before = stored(&jeton.database).await;
    for arguments in [
        &["user", "seal", "--yes"][..],
        &["user", "seal", "--yes", "--recovery-recipient", IDENTITY],
        &["user", "seal", "--yes", "--recovery-recipient", RECIPIENT, "--no-recovery"],
    ] {
        let output = command(&jeton, arguments, "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(!said.contains(IDENTITY), "it repeats no secret: {said}");
    }
    assert_eq!(stored(&jeton.database).await, before);
}

/// A replica that does not know sealed hashes would refuse right passwords: nothing is sealed beside one.
#[tokio::test]
async fn nothing_is_sealed_beside_a_replica_of_before() {
    let jeton = jeton().await;
    let before = stored(&jeton.database).await;
    let old = r#"{"version":"0.2.0","issuer":"http://localhost","jwks_max_age":300,"key_rotation":7776000}"#;
    let columns = "replica_id, settings, started_at, seen_at";
    let add = format!("INSERT INTO replicas ({columns}) VALUES ('old', '{old}', 1, 9000000000)");
    jeton.database.query(&add).await;
    let output = command(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("the replica old is of version 0.2.0"), "{said}");
    assert_eq!(stored(&jeton.database).await, before);
}

/// `jeton check` recommends sealing. Once hashes are sealed, it says who opens them, counts those that are not sealed
/// yet, and opens one.
#[tokio::test]
async fn check_recommends_sealing_and_verifies_it() {
    let jeton = jeton().await;
    let check = || {
        let free = ["check", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
        let output = command(&jeton, &free, "");
        let texts =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("UTF-8"));
        (output.status.code(), texts.concat())
    };
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("advice: password hashes are not sealed"), "{said}");

    let plain = stored(&jeton.database).await.remove(0).1;
    succeed(&jeton, &["user", "seal", "--recovery-recipient", RECIPIENT, "--yes"], "");
    let (code, said) = check();
    assert!(code == Some(0) && said.contains("ok  password hashes are sealed"), "{said}");
    assert!(said.contains(&format!("the recovery key {RECIPIENT}")), "{said}");
    assert!(!said.contains("not sealed") && !said.contains("advice"), "{said}");

    let undo = format!("UPDATE users SET password_hash = '{plain}' WHERE username = 'alice'");
    jeton.database.query(&undo).await;
    let (code, said) = check();
    assert!(
        code == Some(0) && said.contains("warning: 1 password hashes are not sealed"),
        "{said}"
    );
    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    let (code, said) = check();
    assert!(code == Some(0) && said.contains("no recovery key opens it"), "{said}");

    let damage = "UPDATE users SET password_hash = substr(password_hash, 1, 560) || 'AAAAAAAAAAA'";
    jeton.database.query(damage).await;
    let (code, said) = check();
    assert!(code == Some(1) && said.contains("does not open the hash of the user"), "{said}");
}

/// Another master key takes over the data key and the key of second factors: passwords and codes are what they were,
/// and the old master key opens nothing.
#[tokio::test]
async fn a_rewrap_covers_the_data_key_and_the_key_of_second_factors() {
    let jeton = jeton().await;
    let own = jeton.enrol("bob", &[]).await;
    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    let before = stored(&jeton.database).await;
    let old = jeton.fixtures.master_key.display().to_string();
    let new = jeton.database.path("new.jwk");
    let rewrap = |files: &str| {
        let output = key_command(&jeton.database, files, &["rewrap", "--yes"], "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    rewrap(&format!("{new},{old}"));
    assert_eq!(stored(&jeton.database).await, before, "no user is touched");

    let replica = jeton.replica_with(&["--master-key-file", &new]).await;
    let log_in = async |form: String| {
        let request = crate::harness::Request::new(replica.public, "POST", "/token").form(&form);
        request.basic("web", jeton.fixtures.secret("web")).send().await.status
    };
    assert_eq!(log_in(login_form("alice", PASSWORD)).await, 200);
    let with_code = format!("{}&otp={}", login_form("bob", PASSWORD), jeton.code(&own, 0));
    assert_eq!(log_in(with_code).await, 200);
    assert_eq!(log_in(login_form("bob", PASSWORD)).await, 400, "without a code");

    let output = command(&jeton, &["user", "export"], "");
    assert_eq!(output.status.code(), Some(1), "with the old master key");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the hash of the user with the sub"), "{said}");
}

/// A copy in another database is as sealed, and the recovery key opens it.
#[tokio::test]
async fn a_copy_is_sealed_and_recoverable() {
    let jeton = jeton().await;
    succeed(&jeton, &["user", "seal", "--recovery-recipient", RECIPIENT, "--yes"], "");
    let there = Database::empty(Engine::Sqlite).await;
    let copy = ["db", "copy", "--from", &jeton.database.url, "--to", &there.url, "--yes"];
    let output = run_with_input(&copy, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let recovery = "SELECT kid, recovery_recipients, recovery FROM keys WHERE purpose = 'data'";
    let copied = there.query(recovery).await;
    assert_eq!(copied, jeton.database.query(recovery).await);
    assert_eq!(copied[0][1].as_deref(), Some(RECIPIENT));

    let new = there.path("new.jwk");
    let made = run_with_input(&["key", "init", "--master-key-file", &new], "");
    assert!(made.status.success());
    let recovered = key_command(&there, &new, &["recover", "--identity", "-", "--yes"], IDENTITY);
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
    let export = ["user", "export", "--database", &there.url, "--master-key-file", &new];
    let exported = run_with_input(&export, "");
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    assert!(String::from_utf8_lossy(&exported.stdout).contains("$scrypt$"));
}
