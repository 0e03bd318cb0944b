//! What honest callers notice while very many expired sessions are deleted, and while users move in.

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
const USERS: usize = 10_000;
/// How many callers refresh, and how often each does.
const REFRESHERS: (usize, Duration) = (8, Duration::from_millis(40));
/// How many callers log in, and how often each does.
const LOGINS: (usize, Duration) = (2, Duration::from_millis(500));
/// How many users are imported beside the callers.
const IMPORTED: usize = 100_000;
/// How long the service is watched while nothing is deleted.
const QUIET: Duration = Duration::from_secs(30);

/// Deletes so many sessions, once in the background and once by `jeton db purge`.
pub(crate) async fn purge(engine: Engine, expired: usize) {
    let Some(own) = WithSessions::start(engine, USERS).await else { return };
    let callers = Callers::start(&own);
    tokio::time::sleep(QUIET).await;
    callers.stop(engine, "nothing is deleted").await;

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
    callers.stop(engine, &meanwhile).await;

    // The service looks again after a minute, and joins in if the command is not done by then.
    let own = own.restart();
    rows::add(&own.jeton.database, USERS, Sessions::Expired, expired).await;
    let callers = Callers::start(&own);
    let started = Instant::now();
    let said = own.jeton.command(&["db", "purge"]).await;
    let time = started.elapsed();
    let meanwhile = format!("`jeton db purge` runs, for {time:.0?} (\"{said}\")");
    callers.stop(engine, &meanwhile).await;

    let file = write_users(own.jeton.folder(), IMPORTED, "imported");
    let callers = Callers::start(&own);
    let started = Instant::now();
    own.jeton.command(&["user", "import", &file.display().to_string()]).await;
    let time = started.elapsed();
    let meanwhile = format!("{IMPORTED} users are imported, in {time:.0?}");
    callers.stop(engine, &meanwhile).await;
}

/// Callers who come at fixed times, however slowly they are answered.
struct Callers {
    stop: Arc<AtomicBool>,
    refreshers: Vec<JoinHandle<Waits>>,
    logins: Vec<JoinHandle<Waits>>,
}

impl Callers {
    fn start(own: &Arc<WithSessions>) -> Self {
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

    /// Sends them away, and prints how long they waited.
    async fn stop(self, engine: Engine, meanwhile: &str) {
        self.stop.store(true, Ordering::Relaxed);
        println!("on {engine} while {meanwhile}:");
        for (name, callers) in [("refreshes", self.refreshers), ("logins", self.logins)] {
            let mut waits = Waits::default();
            for caller in callers {
                let own = caller.await.expect("a caller");
                waits.all.extend(own.all);
                waits.refused += own.refused;
            }
            waits.print(name);
        }
    }
}

/// How long callers waited, from when they were due.
#[derive(Default)]
struct Waits {
    all: Vec<Duration>,
    refused: usize,
}

impl Waits {
    fn print(mut self, name: &str) {
        self.all.sort();
        let number = self.all.len();
        let of = |hundredths: usize| {
            self.all[(number * hundredths / 100).min(number - 1)].as_secs_f64() * 1e3
        };
        println!(
            "  {number} {name}: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms, {} refused",
            of(50),
            of(99),
            of(100),
            self.refused
        );
    }
}
