//! Clocks that jump and clocks that disagree: no verifier notices.

use jeton::cli::serve::Service;
use jeton_runtime::clock::Clock;

use super::*;
use crate::harness::keys::{KeySet, kid_of};

/// The usual settings, in seconds: how long a key signs, and is published before.
const ROTATION: i64 = 30 * 86_400;
const LEAD: i64 = 2 * 600 + 60;

/// Has the replicas look and issue a token one after the other: each token must verify with every set as
/// it stands then, also with those of replicas that have yet to look. Returns the names of the keys that
/// signed.
async fn all_verify(jeton: &Jeton, replicas: &[&Service]) -> Vec<String> {
    let mut signed = Vec::new();
    for replica in replicas {
        replica.reload().await;
        let token = jeton.access_token_of(replica).await;
        for replica in replicas {
            let set = KeySet::of(replica.public).await;
            assert!(set.verifies(&token), "{} in {:?}", kid_of(&token), set.kids());
        }
        signed.push(kid_of(&token));
    }
    signed
}

/// Clocks that all jump back together, the database's too, so that nothing tells the replicas: the key that
/// signed last goes on, because others may have forgotten the one before. A replica that starts then, and cannot
/// know, signs with a key that all publish.
#[tokio::test]
async fn clocks_that_all_jump_back_break_no_verifier() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let replicas = [&jeton.service, &replica];
    let first = jeton.database.keys("signing").await.remove(0);
    jeton.wait_until(first.activates_at + ROTATION - LEAD);
    all_verify(&jeton, &replicas).await;
    jeton.wait_until(first.activates_at + ROTATION);
    let signed = all_verify(&jeton, &replicas).await;
    let keys = jeton.database.keys("signing").await;
    assert!(signed.iter().all(|kid| *kid == keys[1].kid), "{signed:?}");

    for hours in [1, 6, 48] {
        jeton.clock.jump_everywhere(-hours * 3_600);
        // Nothing is recorded that shows the jump.
        jeton.database.query("DELETE FROM clock").await;
        let signed = all_verify(&jeton, &replicas).await;
        assert!(signed.iter().all(|kid| *kid == keys[1].kid), "{hours} h: {signed:?}");
        let late = jeton.replica().await;
        let signed = all_verify(&jeton, &[&jeton.service, &replica, &late]).await;
        assert_eq!(signed[..2], [keys[1].kid.clone(), keys[1].kid.clone()]);
        jeton.clock.jump_everywhere(hours * 3_600);
        all_verify(&jeton, &[&jeton.service, &replica, &late]).await;
    }
    assert_eq!(jeton.database.keys("signing").await, keys, "no key was made for that");
}

/// Clocks that all jump forward by as much as verifiers may cache the set, just after they fetched it, let no
/// key sign that they do not have.
#[tokio::test]
async fn clocks_that_all_jump_forward_break_no_verifier() {
    let jeton = jeton().await;
    let first = jeton.database.keys("signing").await.remove(0);
    jeton.wait_until(first.activates_at + ROTATION - LEAD - 1);
    let cached = KeySet::of(jeton.service.public).await;
    jeton.clock.advance(1);
    jeton.service.reload().await;
    assert_eq!(KeySet::of(jeton.service.public).await.kids().len(), 2);
    jeton.clock.jump_everywhere(600);
    for _ in 0..10 {
        jeton.service.reload().await;
        let token = jeton.access_token().await;
        assert!(cached.verifies(&token), "the verifier's set is still good");
        jeton.clock.advance(60);
    }

    // A jump past the moment when the next key was due: it is made then, and waits for its whole lead.
    let second = jeton.database.keys("signing").await.remove(1);
    jeton.wait_until(second.activates_at + ROTATION - LEAD - 10);
    jeton.service.reload().await;
    let cached = KeySet::of(jeton.service.public).await;
    jeton.clock.jump_everywhere(600);
    jeton.service.reload().await;
    let third = jeton.database.keys("signing").await.remove(2);
    assert_eq!(third.activates_at, jeton.clock.now().0 + LEAD);
    jeton.clock.advance(600);
    jeton.service.reload().await;
    assert!(cached.verifies(&jeton.access_token().await));
}

/// While its clock is off, a replica publishes and signs by the second clock: whatever the wall clock shows, the key
/// set stays as it is, and no key is made.
#[tokio::test]
async fn a_clock_that_is_off_leaves_the_key_set_alone() {
    let jeton = jeton().await;
    let first = jeton.database.keys("signing").await.remove(0);
    jeton.wait_until(first.activates_at + ROTATION - LEAD);
    jeton.service.reload().await;
    jeton.wait_until(first.activates_at + ROTATION);
    jeton.service.reload().await;
    let (set, keys) =
        (KeySet::of(jeton.service.public).await, jeton.database.keys("signing").await);
    assert_eq!(set.kids().len(), 2);
    for days in [40, -40] {
        jeton.clock.jump(days * 86_400);
        for _ in 0..3 {
            jeton.service.reload().await;
            assert_eq!(KeySet::of(jeton.service.public).await.kids(), set.kids(), "{days} days");
        }
        jeton.clock.jump(-days * 86_400);
    }
    jeton.service.reload().await;
    assert_eq!(jeton.database.keys("signing").await, keys);
    assert!(set.verifies(&jeton.access_token().await));
}

/// Replicas whose clocks are half a minute apart publish what each of them signs with, before, while
/// and after a key follows another; introspection agrees. RFC 7519 §4.1.4. [S-22]
#[tokio::test]
async fn replicas_half_a_minute_apart_agree() {
    let jeton = Jeton::start_with(ENGINE, &["--access-token-lifetime", "1h"]).await;
    let ahead = Clock::settable(jeton.clock.now().after(jeton_oauth::Seconds::new(30)));
    let replica = jeton.replica_by(&ahead, &["--access-token-lifetime", "1h"]).await;
    let first = jeton.database.keys("signing").await.remove(0);
    let signs = first.activates_at + ROTATION;
    let retired = signs + 3_600 + 60 + 600;
    let (mut seen, mut last_of_first) = (Vec::new(), String::new());
    for moment in [
        signs - LEAD - 31,
        signs - LEAD - 30,
        signs - LEAD,
        signs - 31,
        signs - 30,
        signs - 1,
        signs,
        signs + 3_598,
        retired - 31,
        retired - 30,
        retired,
    ] {
        let passing = moment - jeton.clock.now().0;
        jeton.clock.advance(passing);
        ahead.advance(passing);
        // By turns, the one that is ahead first.
        let signed = all_verify(&jeton, &[&replica, &jeton.service]).await;
        let token = jeton.access_token_of(&replica).await;
        assert!(jeton.is_active(&token).await, "issued in the future, as it seems here");
        if moment == signs - 1 {
            last_of_first = jeton.access_token().await;
            assert_eq!(kid_of(&last_of_first), first.kid);
        }
        if (signs..signs + 3_599).contains(&moment) {
            assert!(KeySet::of(replica.public).await.verifies(&last_of_first), "{moment}");
            assert!(jeton.is_active(&last_of_first).await, "{moment}");
        }
        seen.push(signed[0] == signed[1]);
    }
    // They disagree about which key signs for the half minute that they are apart, no longer.
    assert_eq!(seen.iter().filter(|same| !**same).count(), 2, "{seen:?}");
    assert_eq!(jeton.database.keys("signing").await.len(), 2, "one of them made the next key");
}
