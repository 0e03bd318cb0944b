//! What those who need no hash notice of fifty times as many logins as are hashed at once.
//!
//! All cores are busy then, whatever the service does. So the limit is the same service beside as many
//! threads that do nothing but compute, without the memory that hashes take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::load::{self, Caller, Load, Rate};
use super::process::Engine;
use super::rows;
use super::sessions::WithSessions;
use super::{FEW, ROUNDS, bare, median};

/// How many callers log in for each login that is hashed at once.
const TIMES: usize = 50;
/// How long each of the three is measured in each round.
const TURN: Duration = Duration::from_secs(8);
/// How often each caller comes, however slowly it was answered before.
const PACE: Duration = Duration::from_millis(10);

/// What is asked for.
const ASKED: [&str; 3] = ["refreshes", "introspections", "JWKS"];

/// The middle of the waits and the one that a hundredth exceeds, in milliseconds, of each that is asked for.
type Waits = [[f64; 2]; ASKED.len()];

pub(crate) async fn overload() {
    let own = WithSessions::start(Engine::Sqlite, FEW).await.expect("SQLite is always there");
    let (threads, lanes) = (own.jeton.hashing_threads, own.jeton.hashing_lanes);
    let capacity = bare::own_hashes_per_second(threads, lanes, Duration::from_secs(4)).await;
    let callers = TIMES * own.jeton.logins_at_once();
    // Each logs in to an account of its own.
    let logins =
        (0..callers).map(|number| own.jeton.login_request_of(&rows::username(number % FEW)));
    let logins = Arc::new(Load::of_each(own.jeton.public, logins.collect()));
    // The first hashes are given the memory that later ones find.
    logins.run(Duration::from_secs(2)).await;
    let (mut alone, mut computing, mut overloaded) = (Vec::new(), Vec::new(), Vec::new());
    let mut sum = Rate::default();
    for _ in 0..ROUNDS {
        alone.push(waits(&own).await);
        let burners = Burners::start(own.jeton.hashing_threads);
        computing.push(waits(&own).await);
        drop(burners);
        let running = {
            let logins = Arc::clone(&logins);
            tokio::spawn(async move { logins.run(TURN).await })
        };
        overloaded.push(waits(&own).await);
        let rate = running.await.expect("no panic");
        sum.served += rate.served;
        sum.refused += rate.refused;
    }
    println!(
        "overload: {callers} callers log in, of whom {capacity:.1} a second can be hashed: {} were served, {} \
         got 503, {:.1} served a second",
        sum.served,
        sum.refused,
        sum.served as f64 / (TURN * ROUNDS as u32).as_secs_f64()
    );
    let all = own.jeton.metric("jeton_hashing_wait_seconds_count").await;
    let in_time = own.jeton.metric(r#"jeton_hashing_wait_seconds_bucket{le="3.0"}"#).await;
    println!("  {} of {all} hashes began later than the deadline of 3 s", all - in_time);
    for (asked, name) in ASKED.iter().enumerate() {
        for (which, percentile) in ["p50", "p99"].iter().enumerate() {
            let of = |rounds: &[Waits]| rounds.iter().map(|waits| waits[asked][which]).collect();
            let (limits, ours): (Vec<f64>, Vec<f64>) = (of(&computing), of(&overloaded));
            let mut ratios: Vec<f64> = ours.iter().zip(&limits).map(|(a, b)| a / b).collect();
            ratios.sort_by(f64::total_cmp);
            println!(
                "  {name}, {percentile}: alone {:.2} ms, beside {} threads that compute {:.2} ms, beside the \
                 logins {:.2} ms: {:.2} [{:.2}..{:.2}] of the limit",
                median(of(&alone)),
                own.jeton.hashing_threads,
                median(limits),
                median(ours),
                ratios[ratios.len() / 2],
                ratios[0],
                ratios[ratios.len() - 1]
            );
        }
    }
}

/// Threads that do nothing but compute, until this is dropped.
struct Burners {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Burners {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let burn = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::black_box((0..10_000_u64).fold(1, u64::wrapping_mul));
                }
            })
        };
        Self { threads: (0..count).map(burn).collect(), stop }
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for burner in self.threads.drain(..) {
            burner.join().ok();
        }
    }
}

/// How long callers wait, one of each kind, from when each request was due.
async fn waits(own: &Arc<WithSessions>) -> Waits {
    let tokens = own.access_tokens(8).await;
    let end = Instant::now() + TURN;
    let fixed = [
        own.jeton.introspection_request(&tokens[0]),
        load::get(own.jeton.public, "/.well-known/jwks.json"),
    ];
    let refreshes = {
        let own = Arc::clone(own);
        tokio::spawn(async move {
            let mut caller = Caller::connect(own.jeton.public).await;
            let (mut times, mut waits) = (interval(PACE), Vec::new());
            while Instant::now() < end {
                let due = times.tick().await;
                own.refresh(&mut caller, rand::random_range(0..FEW)).await.expect("never refused");
                waits.push(due.elapsed());
            }
            waits
        })
    };
    let others = fixed.map(|request| {
        let public = own.jeton.public;
        tokio::spawn(async move {
            let mut caller = Caller::connect(public).await;
            let (mut times, mut waits) = (interval(PACE), Vec::new());
            while Instant::now() < end {
                let due = times.tick().await;
                assert_eq!(caller.ask(&request).await, Some(200));
                waits.push(due.elapsed());
            }
            waits
        })
    });
    let [introspections, keys] = others;
    [percentiles(refreshes).await, percentiles(introspections).await, percentiles(keys).await]
}

async fn percentiles(waits: JoinHandle<Vec<Duration>>) -> [f64; 2] {
    let mut waits = waits.await.expect("a caller");
    waits.sort();
    let of = |hundredths: usize| waits[waits.len() * hundredths / 100].as_secs_f64() * 1e3;
    [of(50), of(99)]
}
