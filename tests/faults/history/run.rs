//! Runs: sessions that are used while processes are killed, paused and cut off.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::time::sleep;

use crate::harness::Engine;
use crate::harness::chance::{choices, seed};
use crate::usage::Usage;
use crate::world::World;

/// How many sessions are used at once by honest holders, and how many by others beside them.
const HONEST: usize = 6;
const CONTESTED: usize = 12;

/// So many times as long as it should take a run may take.
const PATIENCE: u32 = 10;

/// What a run came to.
pub(crate) struct Report {
    engine: Engine,
    seconds: u64,
    sessions: usize,
    /// Requests with an answer, and with an unknown outcome.
    answered: u64,
    unknown: u64,
    faults: usize,
    /// How long the checker took for all histories together, and for the hardest.
    checking: Duration,
    hardest: Duration,
    /// The first history that does not fit, as it is shown.
    pub(crate) violation: Option<String>,
    /// What the replicas logged.
    pub(crate) logs: String,
}

/// Uses sessions for so long and until there are so many answers, or until a history does not fit.
pub(crate) async fn run(engine: Engine, duration: Duration, answers: u64) -> Report {
    let mut random = choices(seed());
    let mut world = World::start(engine, &mut random).await;
    let began = Instant::now();
    let watch = tokio::spawn(Arc::clone(&world.replicas).watch_machine());
    let usage = Usage::start(&world.replicas, HONEST, CONTESTED, &mut random);
    let replicas = Arc::clone(&world.replicas);
    let goes_on = || began.elapsed() < duration || count(&replicas.answered) < answers;
    while goes_on() && !usage.is_over() {
        assert!(
            began.elapsed() < duration * PATIENCE,
            "too few answers: {}",
            count(&replicas.answered)
        );
        sleep(Duration::from_millis(random.random_range(500..3_000))).await;
        let fault = world.choose(&mut random);
        let index = usage.begin(fault.to_string());
        world.suffer(fault).await;
        usage.end(index);
    }
    let tally = usage.finish().await;
    watch.abort();
    let logs = world.stop().await;
    Report {
        engine,
        seconds: began.elapsed().as_secs(),
        sessions: tally.sessions,
        answered: count(&replicas.answered),
        unknown: count(&replicas.unknown),
        faults: tally.faults.len(),
        checking: tally.checking,
        hardest: tally.hardest,
        violation: tally.violation,
        logs,
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = match self.engine {
            Engine::Sqlite => "SQLite, 1 replica",
            Engine::Postgres => "PostgreSQL, 2 replicas",
        };
        let Self { seconds, sessions, answered, unknown, faults, checking, hardest, .. } = self;
        write!(f, "| {on} | {seconds} s | {faults} | {sessions} | {answered} | {unknown} | ")?;
        write!(f, "{:.2} s, {:.3} s | ", checking.as_secs_f64(), hardest.as_secs_f64())?;
        f.write_str(if self.violation.is_some() { "**no** |" } else { "yes |" })
    }
}
