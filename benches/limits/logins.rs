//! Logins, against hashes and nothing else. Each caller logs in to an account of its own, whose hash has a salt of
//! its own: an account has few attempts under way at once, by design.

use std::time::Duration;

use tokio::time::Instant;

use super::load::{Caller, Load};
use super::process::Jeton;
use super::{ROUNDS, Rounds, bare, median};

/// For how many logins there are callers, for each that is hashed at once; and how long each is measured.
const LOADS: [(usize, Duration); 2] = [(2, Duration::from_secs(6)), (50, Duration::from_secs(12))];
/// How long a load runs before it is measured: the first hashes are given the memory that later ones find.
const SETTLING: Duration = Duration::from_secs(2);
/// How long each limit is measured.
const LIMIT: Duration = Duration::from_secs(4);
/// How many logins there are alone.
const ALONE: usize = 20;

pub(crate) async fn logins() {
    let jeton = Jeton::start_sqlite();
    let (threads, lanes) = (jeton.hashing_threads, jeton.hashing_lanes);
    let at_once = jeton.logins_at_once();
    println!("logins: {threads} threads, {lanes} hashes at once in each");
    let most = LOADS.map(|(times, _)| times * at_once).into_iter().max().unwrap_or_default();
    let logins = jeton.import_users(most);
    for (times, time) in LOADS {
        let load = Load::of_each(jeton.public, logins[..times * at_once].to_vec());
        let (mut by_crate, mut by_own) = (Rounds::default(), Rounds::default());
        for _ in 0..ROUNDS {
            let theirs = bare::hashes_per_second(LIMIT).await;
            let own = bare::own_hashes_per_second(threads, lanes, LIMIT).await;
            let rate = load.run_settled(SETTLING, time).await;
            by_crate.push(&rate, theirs);
            by_own.push(&rate, own);
        }
        let name = format!("password grants, {times} x {at_once} callers");
        by_crate.print(&format!("{name} / the crate scrypt on all cores"), "logins/s", "hashes/s");
        by_own.print(&format!("{name} / own scrypt alone"), "logins/s", "hashes/s");
    }
    let size = |name: &str| format!("jeton_hashing_batch_size_{name}");
    let hashes = jeton.metric(&size("sum")).await;
    let batches = jeton.metric(&size("count")).await;
    println!("  {:.1} hashes in a batch, of all {batches}", hashes / batches);
    alone(&jeton, &logins[..ALONE]).await;
}

/// How long a login takes that is alone, against one hash, by the clock; and how much of that is its own hash.
async fn alone(jeton: &Jeton, logins: &[Vec<u8>]) {
    let mut caller = Caller::connect(jeton.public).await;
    let [mut hashes, mut rested, mut own, mut all, mut rest] = [const { Vec::new() }; 5];
    for login in logins {
        hashes.push(bare::own_batch_time(1).await.as_secs_f64() * 1e3);
        rested.push(bare::own_hash_time_after_rest().await.as_secs_f64() * 1e3);
        let before = jeton.metric("jeton_hashing_duration_seconds_sum").await;
        let started = Instant::now();
        assert_eq!(caller.ask(login).await, Some(200));
        let login = started.elapsed().as_secs_f64() * 1e3;
        let hash = (jeton.metric("jeton_hashing_duration_seconds_sum").await - before) * 1e3;
        all.push(login);
        own.push(hash);
        rest.push(login - hash);
    }
    let (hash, login) = (median(hashes), median(all));
    println!(
        "a login alone: {login:.1} ms, one hash {hash:.1} ms: {:.1} ms more (medians of {}); its own hash {:.1} ms, \
         and all else {:.1} ms; a hash after a rest {:.1} ms",
        login - hash,
        logins.len(),
        median(own),
        median(rest),
        median(rested),
    );
}
