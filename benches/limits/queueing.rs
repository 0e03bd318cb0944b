//! Logins that come by chance, as many a second as the machine can hash or fewer, and what they wait. Beside that how long
//! a batch of hashes takes, so that `benches/scaling/model.py` can foretell the waits.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::load::Caller;
use super::process::Jeton;
use super::{bare, samples};

/// How many logins come, as shares of those that can be hashed.
const LOADS: [f64; 5] = [0.3, 0.5, 0.7, 0.8, 0.9];
/// How long each load lasts, and how long of it does not count.
const TIME: Duration = Duration::from_secs(40);
const SETTLING: Duration = Duration::from_secs(5);
/// How long a batch is measured.
const BATCH: Duration = Duration::from_secs(3);
/// How many accounts log in, in turn: an account has few attempts at once.
const ACCOUNTS: usize = 256;

/// Measures, and prints lines for `benches/scaling/model.py`.
pub(crate) async fn queueing() {
    let jeton = Jeton::start_sqlite();
    let (threads, lanes) = (jeton.hashing_threads, jeton.hashing_lanes);
    println!("queueing,threads,{threads}");
    println!("queueing,lanes,{lanes}");
    let mut capacity = 0.0;
    for size in 1..=lanes {
        let rate = bare::own_hashes_per_second(threads, size, BATCH).await;
        println!("queueing,batch,{size},{:.4}", (threads * size) as f64 / rate);
        capacity = rate;
    }
    let requests = jeton.import_users(ACCOUNTS);
    for load in LOADS {
        let rate = load * capacity;
        let (mut waits, refused) = arrivals(&jeton, &requests, rate).await;
        waits.sort_by(f64::total_cmp);
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
        println!(
            "queueing,wait,{load},{rate:.2},{},{refused},{:.3},{:.3},{:.3}",
            waits.len(),
            waits.iter().sum::<f64>() / waits.len() as f64,
            samples::median(&waits),
            at(0.99)
        );
    }
}

/// Logins that come so often, each when chance says, whether or not earlier ones were answered. What those waited that
/// were served, in seconds, and how many were refused.
async fn arrivals(jeton: &Jeton, requests: &[Vec<u8>], per_second: f64) -> (Vec<f64>, usize) {
    let started = Instant::now();
    let mut due = Duration::ZERO;
    let mut logins = JoinSet::new();
    let mut number = 0;
    while due < TIME {
        due += Duration::from_secs_f64(-rand::random::<f64>().max(1e-12).ln() / per_second);
        let (address, request) = (jeton.public, requests[number % requests.len()].clone());
        number += 1;
        logins.spawn(async move {
            sleep_until(started + due).await;
            let status = Caller::connect(address).await.ask(&request).await;
            (due, started.elapsed().saturating_sub(due), status)
        });
    }
    let (mut waits, mut refused) = (Vec::new(), 0);
    for (due, wait, status) in logins.join_all().await {
        match status {
            _ if due < SETTLING => {}
            Some(200) => waits.push(wait.as_secs_f64()),
            Some(503) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    (waits, refused)
}
