//! What honest callers notice while very many expired sessions are deleted, while users move in, and while a user is
//! barred who has very many sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::import::write_users;
use super::load::Caller;
use super::process::Engine;
use super::rows::{self, Sessions};
use super::sessions::WithSessions;

/// How many users there are, each with a live session.
pub(crate) const USERS: usize = 10_000;
/// How many callers refresh, and how often each does.
const REFRESHERS: (usize, Duration) = (8, Duration::from_millis(40));
/// How many callers log in, and how often each does.
const LOGINS: (usize, Duration) = (2, Duration::from_millis(500));
/// How many users are imported beside the callers.
const IMPORTED: usize = 100_000;
/// How many sessions of one user end beside the callers.
const ENDED: usize = 10_000;
/// How long the service is watched while nothing is deleted.
pub(crate) const QUIET: Duration = Duration::from_secs(30);

/// Deletes so many sessions, once in the background and once by `jeton db purge`.
pub(crate) async fn purge(engine: Engine, expired: usize) {
    let Some(own) = WithSessions::start(engine, USERS).await else { return };
    let callers = Callers::start(&own);
    tokio::time::sleep(QUIET).await;
    let quiet = callers.stop().await;
    print(engine, "nothing is deleted", &quiet, &quiet);

    rows::add(&own.jeton.database, USERS, Sessions::Expired, expired).await;
    // A service that starts begins to delete at once.
    let own = own.restart();
    let callers = Callers::start(&own);
    let started = Instant::now();
    while own.jeton.metric("jeton_expired_sessions_deleted_total").await < expired as f64 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let time = started.elapsed();
    let meanwhile = format!("{expired} sessions are deleted in the background, in {time:.0?}");
    print(engine, &meanwhile, &callers.stop().await, &quiet);

    // The service looks again after a minute, and joins in if the command is not done by then.
    let own = own.restart();
    rows::add(&own.jeton.database, USERS, Sessions::Expired, expired).await;
    let callers = Callers::start(&own);
    let started = Instant::now();
    let said = own.jeton.command(&["db", "purge"]).await;
    let time = started.elapsed();
    let meanwhile = format!("`jeton db purge` runs, for {time:.0?} (\"{said}\")");
    print(engine, &meanwhile, &callers.stop().await, &quiet);

    let file = write_users(own.jeton.folder(), IMPORTED, "imported").display().to_string();
    rows::add(&own.jeton.database, 1, Sessions::OfOne, ENDED).await;
    let one = rows::username(0);
    for (arguments, what) in [
        (&["user", "import", &file][..], format!("{IMPORTED} users are imported")),
        (&["session", "revoke", "--user", &one], format!("{ENDED} sessions of one user end")),
    ] {
        let callers = Callers::start(&own);
        let started = Instant::now();
        own.jeton.command(arguments).await;
        let meanwhile = format!("{what}, in {:.0?}", started.elapsed());
        print(engine, &meanwhile, &callers.stop().await, &quiet);
    }
}

/// Callers who come at fixed times, however slowly they are answered.
pub(crate) struct Callers {
    stop: Arc<AtomicBool>,
    refreshers: Vec<JoinHandle<Waits>>,
    logins: Vec<JoinHandle<Waits>>,
}

impl Callers {
    pub(crate) fn start(own: &Arc<WithSessions>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let begin = |first: usize, refreshes: bool| {
            let (own, stop) = (Arc::clone(own), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut caller = Caller::connect(own.jeton.public).await;
                let (count, pause) = if refreshes { REFRESHERS } else { LOGINS };
                let (mut waits, mut times) = (Waits::default(), interval(pause));
                while !stop.load(Ordering::Relaxed) {
                    let due = times.tick().await;
                    let number = first + count * rand::random_range(0..USERS / count);
                    let served = if refreshes {
                        own.refresh(&mut caller, number).await.is_some()
                    } else {
                        let request = own.jeton.login_request_of(&rows::username(number));
                        caller.ask(&request).await == Some(200)
                    };
                    waits.all.push(due.elapsed());
                    waits.refused += usize::from(!served);
                }
                waits
            })
        };
        let refreshers = (0..REFRESHERS.0).map(|first| begin(first, true)).collect();
        let logins = (0..LOGINS.0).map(|first| begin(first, false)).collect();
        Self { stop, refreshers, logins }
    }

    /// Sends them away: how long those who refresh waited, and those who log in.
    pub(crate) async fn stop(self) -> [Waits; 2] {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = [Waits::default(), Waits::default()];
        for (waits, callers) in all.iter_mut().zip([self.refreshers, self.logins]) {
            for caller in callers {
                let own = caller.await.expect("a caller");
                waits.all.extend(own.all);
                waits.refused += own.refused;
            }
            waits.all.sort();
        }
        all
    }
}

/// Prints how long callers waited, and how much longer than while nothing happened.
pub(crate) fn print(engine: Engine, meanwhile: &str, waits: &[Waits; 2], quiet: &[Waits; 2]) {
    println!("on {engine} while {meanwhile}:");
    for ((name, own), quiet) in ["refreshes", "logins"].iter().zip(waits).zip(quiet) {
        let [p50, p99, longest] = [50, 99, 100].map(|hundredths| own.at_most(hundredths));
        println!(
            "  {} {name}: p50 {p50:.1} ms, p99 {p99:.1} ms ({:.1} of quiet), longest {longest:.1} ms ({:.1} of \
             quiet), {} refused",
            own.all.len(),
            p99 / quiet.at_most(99),
            longest / quiet.at_most(100),
            own.refused
        );
    }
}

/// How long callers waited, from when they were due, shortest first.
#[derive(Default)]
pub(crate) struct Waits {
    all: Vec<Duration>,
    refused: usize,
}

impl Waits {
    /// So many hundredths of the callers waited no longer than this, in milliseconds.
    fn at_most(&self, hundredths: usize) -> f64 {
        let number = self.all.len();
        self.all[(number * hundredths / 100).min(number - 1)].as_secs_f64() * 1e3
    }
}
