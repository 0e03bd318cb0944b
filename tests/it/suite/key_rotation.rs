//! Keys that follow each other by themselves, as seen by verifiers and on several replicas.

use std::collections::HashSet;

use jeton::cli::serve::Service;

use super::*;
use crate::harness::executable::serve_in_vain;
use crate::harness::forge::claims;
use crate::harness::keys::{JWKS, KeySet, kid_of};
use crate::harness::{Database, Request, run};

/// The usual settings, in seconds: how long a key signs, is published before, and is published after.
const ROTATION: i64 = 30 * 86_400;
const LEAD: i64 = 2 * 600 + 60;
const RETENTION: i64 = 3_600 + 60 + 600;

/// RFC 7517 §4.5; RFC 8414 §2: the next key is made in time, once, by whichever replica comes first, and
/// is published for longer than any verifier may cache the set before it signs. [K-20] [K-22]
#[tokio::test]
async fn the_next_key_is_known_to_every_verifier_when_it_signs() {
    let jeton = jeton().await;
    let others = [jeton.replica().await, jeton.replica().await];
    let replicas = [&jeton.service, &others[0], &others[1]];
    let reload = async || {
        tokio::join!(replicas[0].reload(), replicas[1].reload(), replicas[2].reload());
    };
    let first = jeton.database.keys("signing").await.remove(0);
    let due = first.activates_at + ROTATION - LEAD;
    jeton.wait_until(due - 1);
    reload().await;
    let before = KeySet::of(jeton.service.public).await;
    assert_eq!(before.kids(), [&*first.kid], "not a second too early");

    jeton.wait_until(due);
    reload().await;
    let keys = jeton.database.keys("signing").await;
    assert_eq!(keys.len(), 2, "one next key: {keys:?}");
    assert_eq!((keys[1].created_at, keys[1].activates_at), (due, first.activates_at + ROTATION));
    for replica in replicas {
        let set = KeySet::of(replica.public).await;
        assert_eq!(set.kids(), [&*keys[0].kid, &*keys[1].kid]);
        assert_ne!(set.etag, before.etag);
        assert!(2 * set.max_age < LEAD, "{}", set.max_age);
    }

    // A verifier that asked just before goes by what it got for as long as it may.
    jeton.wait_until(due - 1 + before.max_age);
    reload().await;
    for replica in replicas {
        assert!(before.verifies(&jeton.access_token_of(replica).await));
    }
    let set = KeySet::of(jeton.service.public).await;
    for (moment, signs) in [(-1, &keys[0]), (0, &keys[1])] {
        jeton.wait_until(keys[1].activates_at + moment);
        reload().await;
        for replica in replicas {
            let token = jeton.access_token_of(replica).await;
            assert_eq!(kid_of(&token), signs.kid, "{moment}");
            assert!(set.verifies(&token));
        }
    }
    assert_eq!(jeton.database.keys("signing").await, keys, "no third one");
}

/// RFC 7517 §4.5; RFC 7662 §2.2: the key that signed before is published until the last token that it
/// can have signed has expired, and a while longer for caches; until then its tokens are good offline
/// and at introspection. [K-23] [I-42]
#[tokio::test]
async fn a_retired_key_is_published_as_long_as_its_tokens_live() {
    let jeton = Jeton::start_with(ENGINE, &["--access-token-lifetime", "1h"]).await;
    let replica = jeton.replica().await;
    let first = jeton.database.keys("signing").await.remove(0);
    jeton.wait_until(first.activates_at + ROTATION - LEAD);
    jeton.service.reload().await;
    jeton.wait_until(first.activates_at + ROTATION - 1);
    jeton.service.reload().await;
    let token = jeton.access_token().await;
    assert_eq!(kid_of(&token), first.kid);
    let (iat, exp) = (jeton.clock.now().0, jeton.clock.now().0 + 3_600);
    assert_eq!((&claims(&token)["iat"], &claims(&token)["exp"]), (&iat.into(), &exp.into()));

    let retired = first.activates_at + ROTATION;
    for moment in [retired, retired + 1_800, exp - 1] {
        jeton.wait_until(moment);
        for service in [&jeton.service, &replica] {
            service.reload().await;
            let set = KeySet::of(service.public).await;
            assert_eq!(set.kids().len(), 2, "{moment}");
            assert!(set.verifies(&token), "{moment}");
        }
        assert!(jeton.is_active(&token).await, "{moment}");
    }
    jeton.wait_until(exp);
    assert!(!jeton.is_active(&token).await, "it has expired");

    let second = jeton.database.keys("signing").await.remove(1);
    for (moment, kids) in
        [(RETENTION - 1, vec![&*first.kid, &*second.kid]), (RETENTION, vec![&*second.kid])]
    {
        jeton.wait_until(retired + moment);
        for service in [&jeton.service, &replica] {
            service.reload().await;
            assert_eq!(KeySet::of(service.public).await.kids(), kids, "{moment} after");
        }
    }
}

/// Refreshes a session again and again at two replicas by turns, and holds each token against what both
/// publish at that moment; returns the names of the keys that signed, and the last refresh token.
async fn refresh_and_verify(
    jeton: &Jeton,
    replica: &Service,
    mut refresh_token: String,
    count: usize,
) -> (HashSet<String>, String) {
    let mut kids = HashSet::new();
    for turn in 0..count {
        let form = format!("grant_type=refresh_token&refresh_token={refresh_token}");
        let service = if turn % 2 == 0 { &jeton.service } else { replica };
        let request = Request::new(service.public, "POST", "/token").form(&form);
        let reply = request.basic("web", jeton.fixtures.secret("web")).send().await;
        let token = reply.access_token();
        refresh_token = reply.refresh_token();
        for service in [&jeton.service, replica] {
            let set = KeySet::of(service.public).await;
            assert!(set.verifies(&token), "{} in {:?}", kid_of(&token), set.kids());
        }
        kids.insert(kid_of(&token));
    }
    (kids, refresh_token)
}

/// RFC 7515 §4.1.4; RFC 9068 §4: while keys follow each other under load on two replicas, the key of
/// each token is in the set of both at the moment when it was issued. [K-25]
#[tokio::test]
async fn rotation_under_load_never_shows_a_verifier_an_unknown_key() {
    // Keys in a hurry: each is published for 62 seconds before it signs.
    let hurry = ["--jwks-max-age", "1s", "--key-rotation", "63m"];
    let jeton = Jeton::start_with(ENGINE, &hurry).await;
    let replica = jeton.replica_by(&jeton.clock, &hurry).await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(jeton.login_through("web", "").await.refresh_token());
    }
    let mut signed = HashSet::new();
    // At each step one of them looks, and the other goes by what it knew half a minute ago.
    for step in 0..STEPS {
        jeton.clock.advance(30);
        let looks = if step % 2 == 0 { &jeton.service } else { &replica };
        let load = async {
            let one = |token: &String| {
                refresh_and_verify(&jeton, &replica, token.clone(), TOKENS_A_STEP / sessions.len())
            };
            tokio::join!(one(&sessions[0]), one(&sessions[1]), one(&sessions[2]), one(&sessions[3]))
        };
        let ((), (a, b, c, d)) = tokio::join!(looks.reload(), load);
        sessions = Vec::new();
        for (kids, token) in [a, b, c, d] {
            signed.extend(kids);
            sessions.push(token);
        }
    }
    assert_eq!(signed.len(), 4, "three rotations: {signed:?}");
    assert_eq!(jeton.database.keys("signing").await.len(), 4);
}

/// How often the clock is moved: by half a minute each time, for three rotations.
const STEPS: usize = 400;
/// How many tokens are issued and verified at each step: 4800 in all.
const TOKENS_A_STEP: usize = 12;

/// RFC 9110 §8.8, §13.1.2; RFC 9111 §5.2.2: the set's validator changes when its keys do and not
/// otherwise, and how long it may be cached is what was set.
#[tokio::test]
async fn the_validator_follows_the_keys() {
    let jeton = Jeton::start_with(ENGINE, &["--jwks-max-age", "5m"]).await;
    let first = jeton.database.keys("signing").await.remove(0);
    let (lead, retention) = (2 * 300 + 60, 3_600 + 60 + 300);
    let signs = first.activates_at + ROTATION;
    let mut tag = KeySet::of(jeton.service.public).await.etag;
    for (moment, changes) in [
        (signs - lead - 1, false),
        (signs - lead, true),
        (signs - 1, false),
        // Another key signs, and the set is the same.
        (signs, false),
        (signs + retention - 1, false),
        (signs + retention, true),
        (signs + retention + 86_400, false),
    ] {
        jeton.wait_until(moment);
        jeton.service.reload().await;
        let set = KeySet::of(jeton.service.public).await;
        assert_eq!((set.etag != tag, set.max_age), (changes, 300), "{}", moment - signs);
        let again = jeton.request("GET", JWKS).header("If-None-Match", &tag).send().await;
        assert_eq!(again.status, if changes { 200 } else { 304 });
        assert_eq!(again.header("etag"), set.etag);
        assert_eq!(again.header("cache-control"), "public, max-age=300");
        tag = set.etag;
    }
}

/// A rotation that leaves no time to announce and retire a key stops the start, before anything is
/// made, with the settings and the numbers that do not add up; `jeton check` says the same.
#[tokio::test]
async fn a_rotation_that_is_too_short_is_refused_with_the_arithmetic() {
    let database = Database::empty(ENGINE).await;
    let master_key = database.path("master.jwk");
    for (rotation, max_age, numbers) in [
        ("91m", "10m", ["21m", "71m", "92m"]),
        ("1h", "1s", ["62s", "3661s", "3723s"]),
        ("1s", "1h", ["121m", "121m", "242m"]),
    ] {
        let settings = ["--key-rotation", rotation, "--jwks-max-age", max_age];
        let usual = ["--database", &database.url, "--master-key-file", &master_key];
        let free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
        let (code, said) = serve_in_vain(&[&usual[..], &settings].concat());
        let checked = run(&[&["check"][..], &usual, &free, &settings].concat());
        assert_eq!((code, checked.status.code()), (Some(2), Some(1)), "{settings:?}");
        for errors in [said, String::from_utf8_lossy(&checked.stderr).into_owned()] {
            let names = [format!("--key-rotation {rotation}"), format!("--jwks-max-age {max_age}")];
            for part in names.iter().map(String::as_str).chain(numbers) {
                assert!(errors.contains(part), "{part} in {errors}");
            }
        }
        let printed = String::from_utf8_lossy(&checked.stdout);
        let line = printed.lines().find(|line| line.starts_with("--key-rotation "));
        assert!(line.is_some_and(|line| line.contains(rotation)), "{printed}");
        assert_eq!(std::fs::read_dir(&database.folder).expect("a folder").count(), 0);
    }
    let wrong = run(&["serve", "--key-rotation", "366d", "--database", &database.url]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("1s to 365d"));
    let just = ["--key-rotation", "3723s", "--jwks-max-age", "1s"];
    drop(Jeton::start_with(ENGINE, &just).await);
}
