//! `jeton user seal` and `jeton user unseal` that are killed in the middle, beside logins and changes of passwords.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::sealed_hashes::{WEAK, assert_sealed, stored, succeed};
use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::executable::command;
use jeton_oauth::Secret;
use jeton_store::data_keys::{FindDataKey, ListHashes, ReplaceHashes, StoredUnder};
use jeton_store::{DatabaseLocation, Store};

/// How many users are imported: several batches.
const USERS: usize = 6_000;
/// How often a command may end before it is killed, until it is begun again.
const TRIES: usize = 20;

const IS_SEALED: &str = "password_hash LIKE '$sealed$%'";
const IS_PLAIN: &str = "password_hash NOT LIKE '$sealed$%'";

async fn count(jeton: &Jeton, condition: &str) -> usize {
    let count = format!("SELECT COUNT(*) FROM users WHERE {condition}");
    jeton.database.query(&count).await[0][0]
        .as_deref()
        .expect("a number")
        .parse()
        .expect("a number")
}

/// Kills a command once some hashes are as it makes them; whether some others were not.
async fn is_killed_in_the_middle(jeton: &Jeton, arguments: &[&str], is_done: &str) -> bool {
    let master = jeton.fixtures.master_key.display().to_string();
    let place = ["--database", &jeton.database.url, "--master-key-file", &master];
    let mut command = command(&[arguments, &place].concat());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    while count(jeton, is_done).await == 0 {
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    child.kill().expect("it is a child");
    child.wait().expect("a child");
    let done = count(jeton, is_done).await;
    done > 0 && done < count(jeton, "1 = 1").await
}

/// Kills a command in the middle. If it was faster, undoes it and begins again.
async fn kill_in_the_middle(jeton: &Jeton, arguments: &[&str], is_done: &str, undo: &[&str]) {
    for _ in 0..TRIES {
        if is_killed_in_the_middle(jeton, arguments, is_done).await {
            return;
        }
        succeed(jeton, undo, "");
    }
    panic!("{arguments:?} always ended before it was killed");
}

/// Logs in one after the other until it is told to stop: how often. Each login must succeed.
async fn log_in_again_and_again(jeton: Arc<Jeton>, stop: Arc<AtomicBool>) -> usize {
    let mut logins = 0;
    while !stop.load(Ordering::Relaxed) {
        let reply = jeton.token(&login_form("alice", PASSWORD)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        logins += 1;
    }
    logins
}

/// Changes a password again and again until it is told to stop: the last one.
fn change_again_and_again(jeton: &Jeton, stop: &AtomicBool) -> String {
    for number in 0_u64.. {
        let password = format!("wednesday moss candle {number}");
        let passwd = ["user", "passwd", "bob", "--password-stdin", "--scrypt", SCRYPT];
        succeed(jeton, &passwd, &format!("{password}\n"));
        if stop.load(Ordering::Relaxed) {
            return password;
        }
    }
    unreachable!("it is told to stop")
}

/// A run that is killed loses nothing, whichever way it went, and the next one goes on. Meanwhile every login succeeds,
/// and the last password that was set is the one that counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_that_is_killed_loses_nothing() {
    let jeton = Arc::new(jeton().await);
    let lines = (0..USERS).map(|number| format!("user{number:04},\"{WEAK}\"\n"));
    let file = format!("username,password_hash\n{}", lines.collect::<String>());
    succeed(&jeton, &["user", "import", "-"], &file);
    let stop = Arc::new(AtomicBool::new(false));
    let logins = tokio::spawn(log_in_again_and_again(Arc::clone(&jeton), Arc::clone(&stop)));
    let changes = tokio::task::spawn_blocking({
        let (jeton, stop) = (Arc::clone(&jeton), Arc::clone(&stop));
        move || change_again_and_again(&jeton, &stop)
    });

    let (seal, unseal) = (["user", "seal", "--no-recovery", "--yes"], ["user", "unseal", "--yes"]);
    kill_in_the_middle(&jeton, &seal, IS_SEALED, &unseal).await;
    for name in ["user0000", "user5999"] {
        assert_eq!(jeton.token(&login_form(name, "secret")).await.status, 200, "{name}");
    }
    succeed(&jeton, &seal, "");
    assert_sealed(&jeton.database).await;

    kill_in_the_middle(&jeton, &unseal, IS_PLAIN, &seal).await;
    for name in ["user0001", "user5998"] {
        assert_eq!(jeton.token(&login_form(name, "secret")).await.status, 200, "{name}");
    }
    succeed(&jeton, &unseal, "");
    assert_eq!(count(&jeton, IS_SEALED).await, 0);

    stop.store(true, Ordering::Relaxed);
    assert!(logins.await.expect("each login succeeds") > 0);
    let password = changes.await.expect("each change succeeds");
    assert_eq!(jeton.token(&login_form("bob", &password)).await.status, 200, "the last one set");
    let kept = stored(&jeton.database).await.into_iter().filter(|(_, hash)| hash == WEAK).count();
    assert_eq!(kept, USERS - 4, "all but those that logged in");
}

/// A row that was changed after it was read to be sealed stays as it was changed.
#[tokio::test]
async fn a_password_that_is_changed_meanwhile_stays() {
    let jeton = jeton().await;
    let location: DatabaseLocation = jeton.database.url.parse().expect("a database");
    let store = Store::open(&location).await.expect("it is there");
    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    let read = store.perform(ListHashes { after: None, limit: 1_000 }).await.expect("rows");
    let passwd = ["user", "passwd", "bob", "--password-stdin", "--scrypt", SCRYPT];
    succeed(&jeton, &passwd, "wednesday moss candle\n");

    let data_key = store.perform(FindDataKey).await.expect("a row");
    let count = read.len() as u64;
    let same =
        read.into_iter().map(|hash| (hash.clone(), Secret::new(hash.text.expose().to_owned())));
    let hashes = StoredUnder { hashes: same.collect(), data_key };
    let replaced = store.perform(ReplaceHashes { hashes }).await.expect("a change");
    assert_eq!(replaced, count - 1, "all but that of bob");
    let form = login_form("bob", "wednesday moss candle");
    assert_eq!(jeton.token(&form).await.status, 200);

    // What presumes another data key, or none, is not written.
    let stale = StoredUnder { hashes: Vec::new(), data_key: None };
    assert!(store.perform(ReplaceHashes { hashes: stale }).await.is_err());
}
