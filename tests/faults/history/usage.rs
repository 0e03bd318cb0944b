//! Sessions that are used one after the other, and held against the model as soon as they are over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::checker::{History, check};
use crate::clients::{Service, live};
use crate::harness::chance::choices;
use crate::model::{Moment, Rules, SECOND};
use crate::real::Replicas;

/// What the service promises a confidential client at default settings.
const RULES: Rules =
    Rules { retry_window: None, late_tab_window: Some(10 * SECOND), reuse_ends: true };

/// The clients of a run.
pub(crate) struct Usage {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

/// What they have in common.
struct Shared {
    replicas: Arc<Replicas>,
    stop: AtomicBool,
    tally: Mutex<Tally>,
}

/// What their sessions came to.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) sessions: usize,
    /// How long the checker took for all histories together, and for the hardest.
    pub(crate) checking: Duration,
    pub(crate) hardest: Duration,
    /// The first history that does not fit, as it is shown.
    pub(crate) violation: Option<String>,
    /// What was suffered from when to when.
    pub(crate) faults: Vec<(Moment, Moment, String)>,
}

impl Usage {
    /// Lets so many use sessions as honest holders, and so many others beside them.
    pub(crate) fn start(
        replicas: &Arc<Replicas>,
        honest: usize,
        contested: usize,
        random: &mut StdRng,
    ) -> Self {
        let (replicas, stop) = (Arc::clone(replicas), AtomicBool::new(false));
        let shared = Arc::new(Shared { replicas, stop, tally: Mutex::default() });
        let mut clients = JoinSet::new();
        for index in 0..honest + contested {
            let rules = Rules { reuse_ends: index >= honest, ..RULES };
            clients.spawn(Arc::clone(&shared).use_sessions(rules, choices(random.random())));
        }
        Self { shared, clients }
    }

    /// Whether a history did not fit, after which no session is begun.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.is_over()
    }

    /// Notes that a fault begins; its number.
    pub(crate) fn begin(&self, fault: String) -> usize {
        let mut tally = self.shared.tally();
        tally.faults.push((self.shared.replicas.now(), Moment::MAX, fault));
        tally.faults.len() - 1
    }

    pub(crate) fn end(&self, index: usize) {
        self.shared.tally().faults[index].1 = self.shared.replicas.now();
    }

    /// Waits for the end of the sessions that are in use, and begins no other.
    pub(crate) async fn finish(mut self) -> Tally {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client is content");
        }
        std::mem::take(&mut *self.shared.tally())
    }
}

impl Shared {
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
            let shared = Arc::clone(&self);
            spawn_blocking(move || shared.check(&history))
                .await
                .expect("the checker does not panic");
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
}

#[expect(clippy::cast_precision_loss, reason = "moments of a run are small")]
fn seconds(moment: Moment) -> String {
    format!("{:.3} s", moment as f64 / SECOND as f64)
}
