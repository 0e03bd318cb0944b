//! Keys that another master key sealed, or that are damaged: none is added by mistake, and one that is
//! there takes nothing else down.

use std::time::{Duration, Instant};

use jeton::cli::serve::Service;
use jeton_crypto::sealing::{KeyPurpose, MasterKeys};
use jeton_crypto::{refresh_keys, signing};
use jeton_runtime::clock::Clock;
use serde_json::{Value, json};

use super::*;
use crate::harness::executable::serve_in_vain;
use crate::harness::forge::claims;
use crate::harness::keys::{KeySet, key_command, kid_of};
use crate::harness::service::settings;
use crate::harness::{Database, Executable, Request};

/// The usual settings, in seconds: how long a key is published after its successor signs.
const RETENTION: i64 = 3_600 + 60 + 600;

/// Another master key, in a file of this database's folder.
fn another_master_key(database: &Database) -> String {
    let file = database.path("other/master.jwk");
    MasterKeys::load(&[(&file).into()], false).expect("it is made");
    file
}

/// The name of the master key in a file.
fn kid_in(file: &str) -> String {
    let file: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    file["kid"].as_str().expect("a name").to_owned()
}

/// Puts a key into the table that is sealed under the master key of this file, as versions did that did not
/// look first; its name.
async fn add_foreign(database: &Database, file: &str, purpose: KeyPurpose, at: [i64; 2]) -> String {
    let masters = MasterKeys::load(&[file.into()], true).expect("a master key");
    let (kid, secret, public) = match purpose {
        KeyPurpose::Signing => {
            let key = signing::generate(2_048).expect("a key");
            let public = serde_json::to_string(&key.public).expect("JSON");
            (key.public.kid, key.secret, public)
        }
        KeyPurpose::Refresh
        | KeyPurpose::Throttle
        | KeyPurpose::SecondFactor
        | KeyPurpose::Data => {
            let (kid, secret) = refresh_keys::generate();
            (kid, secret, String::new())
        }
    };
    let (sealed, purpose) = (masters.seal(purpose, &kid, &secret), purpose.as_str());
    let [created_at, activates_at] = at;
    let insert = format!(
        "INSERT INTO keys (kid, purpose, generation, public_jwk, sealed_key, created_at, \
         activates_at) SELECT '{kid}', '{purpose}', MAX(generation) + 1, '{public}', '{sealed}', \
         {created_at}, {activates_at} FROM keys WHERE purpose = '{purpose}'"
    );
    database.query(&insert).await;
    kid.as_str().to_owned()
}

/// One more replica that has both master keys.
async fn replica_with_both(jeton: &Jeton, other: &str) -> Service {
    let both = format!("{},{other}", jeton.fixtures.master_key.display());
    let arguments = ["--database", &jeton.database.url, "--master-key-file", &both];
    let issuer = ["--issuer", jeton.service.issuer.as_str()];
    let settings = settings(&[&arguments[..], &issuer].concat());
    Service::start(settings, jeton.clock.clone()).await.expect("it starts")
}

/// Under a master key that does not open what is sealed already nothing is sealed: not by a command, and not
/// by a service that starts when a key is due. What is missing is named, and nothing was changed.
#[tokio::test]
async fn nothing_is_sealed_under_another_master_key_than_the_rest() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let service = Executable::serve_on(&database, fixtures, &[]);
    let other = another_master_key(&database);
    let right = kid_in(&fixtures.master_key.display().to_string());
    let published = KeySet::of(service.public).await;
    let signing = database.keys("signing").await.remove(0).kid;
    let refresh = database.keys("refresh").await.remove(0).kid;
    let pem = signing::generate(2_048).expect("a key").secret;
    let pem = std::str::from_utf8(&pem).expect("a JWK");
    let before = database.dump().await;
    for arguments in [
        &["rotate", "--yes"][..],
        &["rotate", "--emergency", "--yes"],
        &["rotate", "--refresh"],
        &["revoke", &signing, "--yes"],
        &["revoke", &refresh, "--yes"],
        &["import", "-", "--yes"],
        &["rewrap", "--yes"],
    ] {
        let output = key_command(&database, &other, arguments, pem);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        for part in [&right, "--master-key-file", "is sealed under the master key"] {
            assert!(said.contains(part), "{arguments:?} says {part:?}: {said}");
        }
        assert!(!said.contains("nothing breaks") && output.stdout.is_empty(), "{said}");
        assert_eq!(database.dump().await, before, "{arguments:?}");
    }
    assert_eq!(KeySet::of(service.public).await.json, published.json);
    assert_eq!(service.metric("jeton_keys_unusable").await, 0);
    drop(service);

    database.query("UPDATE keys SET activates_at = activates_at - 3000000").await;
    let before = database.dump().await;
    let (code, said) = serve_in_vain(&["--database", &database.url, "--master-key-file", &other]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&right) && said.contains("--master-key-file"), "{said}");
    assert_eq!(database.dump().await, before);
    let service = Executable::serve_on(&database, fixtures, &[]);
    assert_eq!(KeySet::of(service.public).await.kids().len(), 2, "the right one starts it");
}

/// Of replicas that start at once on an empty database, each with a master key of its own, those with one of
/// them run and the others stop: never is one key sealed under this one and the next under that.
#[tokio::test]
async fn replicas_with_different_master_keys_never_mix_them() {
    for _ in 0..4 {
        let database = Database::migrated(ENGINE).await;
        let files = [0, 1, 2, 3].map(|number| database.path(&format!("{number}/master.jwk")));
        let outcomes: Vec<Result<Executable, String>> = std::thread::scope(|scope| {
            let start = |file: &String| {
                Executable::try_serve(&["--database", &database.url, "--master-key-file", file])
            };
            let starting: Vec<_> =
                files.iter().map(|file| scope.spawn(move || start(file))).collect();
            starting.into_iter().map(|one| one.join().expect("no panic")).collect()
        });
        let sealed = "SELECT sealed_key FROM keys ORDER BY kid";
        let masters: Vec<String> = database
            .query(sealed)
            .await
            .iter()
            .filter_map(|row| jeton_crypto::sealing::sealed_under(row[0].as_deref()?))
            .collect();
        assert_eq!(masters.len(), 3, "a key of each purpose");
        assert!(masters.iter().all(|master| *master == masters[0]), "{masters:?}");
        for (outcome, file) in outcomes.iter().zip(&files) {
            match outcome {
                Ok(_) => assert_eq!(kid_in(file), masters[0]),
                Err(log) => assert!(log.contains(&masters[0]) && log.contains(file), "{log}"),
            }
        }
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    }
}

/// A refresh key on an empty database would be sealed before it is decided under what.
#[tokio::test]
async fn no_other_key_comes_before_the_first_signing_key() {
    let database = Database::migrated(ENGINE).await;
    let output = key_command(&database, &database.path("m.jwk"), &["rotate", "--refresh"], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("jeton serve"), "{said}");
    assert!(database.keys("refresh").await.is_empty());
}

/// A key that a replica cannot open is not published there: whoever can write the database could have put it
/// there. The key before it signs on as long as it is published, and its tokens live no longer. When it is gone
/// nothing signs, and everything else goes on. Whether a token of such a key is good cannot be told here: 503.
#[tokio::test]
async fn a_key_of_another_master_key_takes_nothing_else_down() {
    let jeton = jeton().await;
    let other = another_master_key(&jeton.database);
    let now = jeton.clock.now().0;
    let signs_at = now + 2_000;
    let first = jeton.database.keys("signing").await.remove(0).kid;
    let foreign = add_foreign(&jeton.database, &other, KeyPurpose::Signing, [now, signs_at]).await;
    jeton.service.reload().await;
    assert_eq!(jeton.number("jeton_reload_failures_total").await, 0);
    assert_eq!(jeton.number("jeton_keys_unusable").await, 1);
    let (status, said) = readiness(jeton.service.management).await;
    assert_eq!(
        (status, &said["keys_unusable"], &said["signing_key"]),
        (200, &json!(1), &json!("usable"))
    );
    assert_eq!(KeySet::of(jeton.service.public).await.kids(), [&*first]);

    let both = replica_with_both(&jeton, &other).await;
    for (moment, lifetime) in [(signs_at, 600), (signs_at + RETENTION - 100, 100)] {
        jeton.wait_until(moment);
        jeton.service.reload().await;
        both.reload().await;
        let token = jeton.access_token().await;
        assert_eq!(kid_of(&token), first, "the key before signs on");
        assert_eq!(claims(&token)["exp"], moment + lifetime, "no token outlives its key");
        let set = KeySet::of(both.public).await;
        assert!(set.verifies(&token), "{:?}", set.kids());
        let token = jeton.access_token_of(&both).await;
        assert_eq!(kid_of(&token), foreign);
        let form = format!("token={token}");
        let reply = jeton.post_as("rs1", "/introspect", &form).send().await;
        reply.assert_error(503, "temporarily_unavailable");
        assert_eq!(readiness(jeton.service.management).await.0, 200);
    }

    let session = jeton.login_through("web", "").await.refresh_token();
    jeton.wait_until(signs_at + RETENTION);
    jeton.service.reload().await;
    jeton.login_through("web", "").await.assert_error(503, "temporarily_unavailable");
    let refresh = format!("grant_type=refresh_token&refresh_token={session}");
    jeton.token(&refresh).await.assert_error(503, "temporarily_unavailable");
    let (status, said) = readiness(jeton.service.management).await;
    assert_eq!((status, &said["signing_key"]), (503, &json!("missing")));
    assert!(KeySet::of(jeton.service.public).await.kids().is_empty());

    // Withdrawn, it is replaced: under the master key that opens all others.
    jeton.key(&["revoke", &foreign, "--yes"]).await;
    assert_eq!(jeton.number("jeton_keys_unusable").await, 0);
    jeton.token(&refresh).await.access_token();
    assert_eq!(readiness(jeton.service.management).await.0, 200);
}

/// A signing key that is withdrawn signs no more within seconds on a running replica, though a key is there
/// that this replica cannot open. The log says so once, and the right master key starts the service.
#[tokio::test]
async fn withdrawals_take_effect_beside_a_key_that_cannot_be_opened() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let other = another_master_key(&database);
    let row = database.keys("signing").await.remove(0);
    let foreign = add_foreign(
        &database,
        &other,
        KeyPurpose::Signing,
        [row.created_at, Clock::System.now().0 + 1_000],
    )
    .await;
    let comes_to_be = async |wanted: &dyn Fn(&[&str]) -> bool| {
        let patience = Instant::now() + Duration::from_mins(3);
        loop {
            let set = KeySet::of(service.public).await;
            if wanted(&set.kids()) {
                return;
            }
            assert!(Instant::now() < patience, "{:?}", set.kids());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let patience = Instant::now() + Duration::from_mins(3);
    while service.metric("jeton_keys_unusable").await != 1 {
        assert!(Instant::now() < patience, "it looks at the keys every few seconds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let right = fixtures.master_key.display().to_string();
    let output = key_command(&database, &right, &["rotate", "--emergency", "--yes"], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&foreign) && said.contains("jeton key revoke"), "{said}");

    let output = key_command(&database, &right, &["revoke", &row.kid, "--yes"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    comes_to_be(&|kids| !kids.contains(&&*row.kid) && kids.len() == 1).await;
    let post = Request::new(service.public, "POST", "/token").form(&login_form("alice", PASSWORD));
    let login = post.basic("web", fixtures.secret("web")).send().await;
    assert_eq!(kid_of(&login.access_token()), database.keys("signing").await[2].kid);
    assert_eq!(service.metric("jeton_keys_unusable").await, 1);
    service.signal("HUP");
    let log = service.stop_and_read_log();
    let told = log.lines().filter(|line| line.contains("ERROR") && line.contains(&foreign));
    assert_eq!(told.count(), 1, "{log}");

    let service = Executable::serve_on(&database, fixtures, &[]);
    assert!(service.log().contains(&foreign), "{}", service.log());
}

/// A refresh token whose key cannot be opened here is not refused as if nobody had made it; new ones are
/// derived with the key before.
#[tokio::test]
async fn a_refresh_token_of_a_key_that_cannot_be_opened_is_not_thrown_away() {
    let jeton = jeton().await;
    let other = another_master_key(&jeton.database);
    let now = jeton.clock.now().0;
    let held = jeton.login_through("web", "").await.refresh_token();
    add_foreign(&jeton.database, &other, KeyPurpose::Refresh, [now, now + 10]).await;
    let both = replica_with_both(&jeton, &other).await;
    jeton.wait_until(now + 10);
    jeton.service.reload().await;
    let login = Request::new(both.public, "POST", "/token").form(&login_form("alice", PASSWORD));
    let login = login.basic("web", jeton.fixtures.secret("web")).send().await;
    let form = |token: &str| format!("grant_type=refresh_token&refresh_token={token}");
    let of_other = form(&login.refresh_token());
    jeton.token(&of_other).await.assert_error(503, "temporarily_unavailable");
    let introspection = format!("token={}", login.refresh_token());
    let reply = jeton.post_as("web", "/introspect", &introspection).send().await;
    assert_ne!(reply.status, 200, "{}", reply.text());

    let kept = jeton.token(&form(&held)).await.refresh_token();
    let again = Request::new(both.public, "POST", "/token").form(&form(&kept));
    again.basic("web", jeton.fixtures.secret("web")).send().await.access_token();
    assert_eq!(
        (jeton.number("jeton_keys_unusable").await, readiness(jeton.service.management).await.0),
        (1, 200)
    );
    let again = Request::new(both.public, "POST", "/token").form(&of_other);
    again.basic("web", jeton.fixtures.secret("web")).send().await.access_token();
}

/// Without the key that names counters nobody may guess, so nobody may try: logins wait, and readiness says
/// so. Another takes its place when it is withdrawn.
#[tokio::test]
async fn without_the_throttle_key_logins_wait() {
    let jeton = jeton().await;
    let other = another_master_key(&jeton.database);
    let (now, token) = (jeton.clock.now().0, jeton.access_token().await);
    let foreign = add_foreign(&jeton.database, &other, KeyPurpose::Throttle, [now, now]).await;
    jeton.service.reload().await;
    jeton.login_through("web", "").await.assert_error(503, "temporarily_unavailable");
    let (status, said) = readiness(jeton.service.management).await;
    assert_eq!((status, &said["throttle_key"]), (503, &json!("missing")));
    assert!(jeton.is_active(&token).await);
    jeton.key(&["revoke", &foreign, "--yes"]).await;
    jeton.access_token().await;
    assert_eq!(
        (jeton.number("jeton_keys_unusable").await, readiness(jeton.service.management).await.0),
        (0, 200)
    );
}

/// One damaged key among good ones does not stop the start, which says so; `jeton check` takes it for a
/// problem.
#[tokio::test]
async fn one_damaged_key_does_not_stop_the_start() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let key = |arguments: &[&str]| {
        let output = key_command(&database, &master_key, arguments, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    key(&["rotate", "--yes"]);
    let next = database.keys("signing").await.remove(1).kid;
    let sealed = format!("SELECT sealed_key FROM keys WHERE kid = '{next}'");
    let sealed = database.query(&sealed).await[0][0].clone().expect("a JWE");
    let cut = &sealed[..sealed.len() - 4];
    let damage = format!("UPDATE keys SET sealed_key = '{cut}' WHERE kid = '{next}'");
    database.query(&damage).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let set = KeySet::of(service.public).await;
    assert_eq!(set.kids().len(), 1, "it is not published");
    assert_eq!(service.metric("jeton_keys_unusable").await, 1);
    let check = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let common = ["--database", &database.url, "--master-key-file", &master_key];
    let output = crate::harness::run(&[&["check"][..], &check, &common].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&next) && said.contains("damaged or was altered"), "{said}");
    let log = service.stop_and_read_log();
    let told = log.lines().filter(|line| line.contains("ERROR") && line.contains(&next));
    assert_eq!(told.count(), 1, "{log}");

    // It is no proof of a wrong master key, and is not the one that comes next.
    key(&["rotate", "--yes"]);
    assert_eq!(database.keys("signing").await.len(), 3);
}

/// A start that can sign is not stopped because the next key, which is due, cannot be made: the log says why.
#[tokio::test]
async fn a_key_that_cannot_be_made_does_not_stop_a_start_that_can_sign() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let other = another_master_key(&database);
    database.query("UPDATE keys SET activates_at = activates_at - 3000000").await;
    let row = database.keys("signing").await.remove(0);
    // Of a future that is not waited for.
    let at = [row.created_at, row.activates_at + 9_000_000];
    let foreign = add_foreign(&database, &other, KeyPurpose::Signing, at).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let post = Request::new(service.public, "POST", "/token").form(&login_form("alice", PASSWORD));
    let login = post.basic("web", fixtures.secret("web")).send().await;
    assert_eq!(kid_of(&login.access_token()), row.kid);
    assert_eq!(database.keys("signing").await.len(), 2, "none was made");
    let log = service.stop_and_read_log();
    let told =
        |line: &str| line.contains("cannot make a key that is due") && line.contains(&foreign);
    assert!(log.lines().any(told), "{log}");
}
