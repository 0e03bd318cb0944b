//! Runs: sessions that are used while processes are killed, paused and cut off.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::checker::{History, check};
use crate::clients::{Service, live};
use crate::harness::Engine;
use crate::harness::chance::{choices, seed};
use crate::model::{Moment, Rules, SECOND};
use crate::real::Replicas;
use crate::world::World;

/// How many sessions are used at once by honest holders, and how many by others beside them.
const HONEST: usize = 6;
const CONTESTED: usize = 12;

/// So many times as long as it should take a run may take.
const PATIENCE: u32 = 10;

/// What the service promises a confidential client at default settings.
const RULES: Rules =
    Rules { retry_window: None, late_tab_window: Some(10 * SECOND), reuse_ends: true };

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

/// What the clients of a run have in common.
struct Run {
    replicas: Arc<Replicas>,
    stop: AtomicBool,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    sessions: usize,
    checking: Duration,
    hardest: Duration,
    violation: Option<String>,
    /// What was suffered from when to when.
    faults: Vec<(Moment, Moment, String)>,
}

/// Uses sessions for so long and until there are so many answers, or until a history does not fit.
pub(crate) async fn run(engine: Engine, duration: Duration, answers: u64) -> Report {
    let mut random = choices(seed());
    let mut world = World::start(engine, &mut random).await;
    let began = Instant::now();
    let run = Arc::new(Run {
        replicas: Arc::clone(&world.replicas),
        stop: AtomicBool::new(false),
        tally: Mutex::default(),
    });
    let watch = tokio::spawn(Arc::clone(&world.replicas).watch_machine());
    let mut clients = JoinSet::new();
    for index in 0..HONEST + CONTESTED {
        let rules = Rules { reuse_ends: index >= HONEST, ..RULES };
        clients.spawn(Arc::clone(&run).use_sessions(rules, choices(random.random())));
    }
    let replicas = Arc::clone(&world.replicas);
    let goes_on = || began.elapsed() < duration || count(&replicas.answered) < answers;
    while goes_on() && !run.is_over() {
        assert!(
            began.elapsed() < duration * PATIENCE,
            "too few answers: {}",
            count(&replicas.answered)
        );
        sleep(Duration::from_millis(random.random_range(500..3_000))).await;
        let fault = world.choose(&mut random);
        let index = run.begin(fault.to_string());
        world.suffer(fault).await;
        run.end(index);
    }
    run.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client is content");
    }
    watch.abort();
    let logs = world.stop().await;
    let mut tally = run.tally();
    Report {
        engine,
        seconds: began.elapsed().as_secs(),
        sessions: tally.sessions,
        answered: count(&replicas.answered),
        unknown: count(&replicas.unknown),
        faults: tally.faults.len(),
        checking: tally.checking,
        hardest: tally.hardest,
        violation: tally.violation.take(),
        logs,
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

impl Run {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no client panics")
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Uses one session after the other, each to its end.
    async fn use_sessions(self: Arc<Self>, rules: Rules, mut random: StdRng) {
        while !self.is_over() {
            let (replicas, number) = (Arc::clone(&self.replicas), self.replicas.addresses.len());
            let Some(history) = live(replicas, number, rules, random.random()).await else {
                sleep(Duration::from_millis(500)).await;
                continue;
            };
            let run = Arc::clone(&self);
            spawn_blocking(move || run.check(&history)).await.expect("the checker does not panic");
        }
    }

    fn check(&self, history: &History) {
        let began = Instant::now();
        let checked = check(history);
        let took = began.elapsed();
        let mut tally = self.tally();
        tally.sessions += 1;
        tally.checking += took;
        tally.hardest = tally.hardest.max(took);
        if let Err(violation) = checked {
            self.stop.store(true, Ordering::SeqCst);
            let (from, to) = violation.span();
            let suffered =
                tally.faults.iter().filter(|(begin, end, _)| *begin <= to && from <= *end);
            let mut text = violation.to_string();
            for (begin, end, fault) in suffered {
                let until = if *end == Moment::MAX { "now".to_owned() } else { seconds(*end) };
                text.extend(["\n  ", &seconds(*begin), " to ", &until, ": ", fault]);
            }
            tally.violation.get_or_insert(text);
        }
    }

    /// Notes that a fault begins; its number.
    fn begin(&self, fault: String) -> usize {
        let mut tally = self.tally();
        tally.faults.push((self.replicas.now(), Moment::MAX, fault));
        tally.faults.len() - 1
    }

    fn end(&self, index: usize) {
        self.tally().faults[index].1 = self.replicas.now();
    }
}

#[expect(clippy::cast_precision_loss, reason = "moments of a run are small")]
fn seconds(moment: Moment) -> String {
    format!("{:.3} s", moment as f64 / SECOND as f64)
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
