//! Keys while the database is away, and what operators see of keys.

use super::*;
use crate::harness::Engine;
use crate::harness::keys::{KeySet, kid_of};

/// The usual settings, in seconds: how long a key signs, is published before, and is published after.
const ROTATION: i64 = 30 * 86_400;
const LEAD: i64 = 2 * 600 + 60;
const RETENTION: i64 = 3_600 + 60 + 600;

/// What `/readyz` says of keys: how old what is known is, and for how long the set is good.
async fn readiness(jeton: &Jeton) -> (i64, i64) {
    let said = jeton.manage("/readyz").send().await.json();
    let number = |name: &str| said[name].as_i64().expect("a number");
    (number("keys_age_seconds"), number("jwks_max_age_seconds"))
}

/// How many keys are published, sign and verify, by the metrics.
async fn counts(jeton: &Jeton) -> [i64; 3] {
    let metric = |state: &str| format!("jeton_signing_keys{{state=\"{state}\"}}");
    let [published, signing, verifying] = ["published", "signing", "verifying"].map(metric);
    [jeton.number(&published).await, jeton.number(&signing).await, jeton.number(&verifying).await]
}

/// While the database cannot be asked, the keys in hand go through their lives: the next one signs, and
/// the one before leaves the set when its last token has expired.
#[tokio::test]
async fn keys_go_on_through_an_outage() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let first = jeton.database.keys("signing").await.remove(0);
    jeton.wait_until(first.activates_at + ROTATION - LEAD);
    jeton.service.reload().await;
    let next = jeton.database.keys("signing").await.remove(1);
    outage.begin();
    for (moment, kids, expected) in [
        (next.activates_at - 1, vec![&*first.kid, &*next.kid], [1, 1, 0]),
        (next.activates_at, vec![&*first.kid, &*next.kid], [0, 1, 1]),
        (next.activates_at + RETENTION - 1, vec![&*first.kid, &*next.kid], [0, 1, 1]),
        (next.activates_at + RETENTION, vec![&*next.kid], [0, 1, 0]),
    ] {
        jeton.wait_until(moment);
        jeton.service.reload().await;
        assert_eq!(KeySet::of(jeton.service.public).await.kids(), kids, "{moment}");
        assert_eq!(counts(&jeton).await, expected, "{moment}");
        if moment >= next.activates_at {
            let age = jeton.number("jeton_signing_key_age_seconds").await;
            assert_eq!(age, moment - next.activates_at, "the next one signs");
        }
    }
    if ENGINE == Engine::Postgres {
        assert_eq!(readiness(&jeton).await, (LEAD + RETENTION, 0));
    }
    outage.end();
    jeton.service.reload().await;
    let token = jeton.access_token().await;
    assert_eq!(kid_of(&token), next.kid);
    assert!(KeySet::of(jeton.service.public).await.verifies(&token));
}

/// The set of a replica that cannot read the database says to be good for no longer than until a key can
/// sign that another replica made meanwhile. Health and metrics say how old its knowledge is; when the
/// database is back, all is well.
#[tokio::test]
async fn a_replica_does_not_vouch_for_what_it_cannot_know() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let first = jeton.database.keys("signing").await.remove(0);
    // A key that is due is what no store can take then.
    jeton.wait_until(first.activates_at + ROTATION - LEAD - 1);
    jeton.service.reload().await;
    let before = KeySet::of(jeton.service.public).await;
    let failures = jeton.number("jeton_reload_failures_total").await;
    assert_eq!((readiness(&jeton).await, before.max_age), ((0, 600), 600));
    outage.begin();
    let mut age = 0;
    for (at, max_age) in [(300, 600), (301, 599), (600, 300), (899, 1), (900, 0), (9_000, 0)] {
        jeton.clock.advance(at - age);
        age = at;
        jeton.service.reload().await;
        // A lock on the file of the embedded store keeps nobody from reading: only making a key fails.
        let (known_for, max_age) =
            if ENGINE == Engine::Postgres { (age, max_age) } else { (0, before.max_age) };
        let set = KeySet::of(jeton.service.public).await;
        assert_eq!((set.max_age, &set.etag), (max_age, &before.etag), "after {age}");
        assert_eq!(readiness(&jeton).await, (known_for, max_age));
        assert_eq!(jeton.number("jeton_keys_age_seconds").await, known_for);
    }
    assert!(jeton.number("jeton_reload_failures_total").await >= failures + 6);
    assert_eq!(jeton.database.keys("signing").await, [first], "no key on its own");
    outage.end();
    jeton.service.reload().await;
    let set = KeySet::of(jeton.service.public).await;
    assert_eq!((set.max_age, set.kids().len()), (600, 2));
    assert_eq!(readiness(&jeton).await, (0, 600));
    let next = jeton.database.keys("signing").await.remove(1);
    assert_eq!(next.activates_at, jeton.clock.now().0 + LEAD, "its whole lead");
    assert!(set.verifies(&jeton.access_token().await));
}

/// Operators see how many keys there are in each state, how long the one that signs has done so, and
/// when the next one is to be published and to sign.
#[tokio::test]
async fn the_metrics_tell_the_lives_of_keys() {
    let jeton = jeton().await;
    let start = jeton.database.keys("signing").await[0].activates_at;
    for (moment, expected, age, published, signs) in [
        (1_000, [0, 1, 0], 1_000, ROTATION - LEAD - 1_000, ROTATION - 1_000),
        (ROTATION - LEAD - 1, [0, 1, 0], ROTATION - LEAD - 1, 1, LEAD + 1),
        (ROTATION - LEAD, [1, 1, 0], ROTATION - LEAD, 0, LEAD),
        (ROTATION - 1, [1, 1, 0], ROTATION - 1, 0, 1),
        (ROTATION, [0, 1, 1], 0, ROTATION - LEAD, ROTATION),
        (
            ROTATION + RETENTION,
            [0, 1, 0],
            RETENTION,
            ROTATION - LEAD - RETENTION,
            ROTATION - RETENTION,
        ),
    ] {
        jeton.wait_until(start + moment);
        jeton.service.reload().await;
        assert_eq!(counts(&jeton).await, expected, "at {moment}");
        for (metric, expected) in [
            ("jeton_signing_key_age_seconds", age),
            ("jeton_next_signing_key_published_seconds", published),
            ("jeton_next_signing_key_signs_seconds", signs),
            ("jeton_keys_age_seconds", 0),
            ("jeton_reload_failures_total", 0),
        ] {
            assert_eq!(jeton.number(metric).await, expected, "{metric} at {moment}");
        }
    }
}
