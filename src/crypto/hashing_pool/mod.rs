//! Password hashing under load: a fixed number of threads, a fixed amount of memory, a bounded
//! wait.
//!
//! A hash is a thousand times dearer than anything else this service does. So it never runs on
//! the async runtime, and a login that could not be served in time is refused before it costs
//! anything, which keeps the ones that are served fast.
//!
//! Clients take turns (`queue`), so no flood of one takes the turn of another.
//!
//! Each thread reserves its memory when it starts, so what all of them take together is known beforehand. It
//! gives back what it used when it had nothing to do for a while.

mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;

use super::password::{HashingMemory, PasswordHash};
use crate::clock::Seconds;
use crate::config::ScryptCost;
use crate::oauth::resource_owner::Password;
use crate::presence::Presence;
use crate::supervision::{Health, supervise_thread};
use queue::Queue;
pub use queue::Turn;

/// How fast scrypt is assumed to fill memory until it was measured, in octets per second.
const ASSUMED_SPEED: f64 = 512e6;
/// The weight of the newest hash in the running mean of durations.
const NEWEST_WEIGHT: f64 = 0.2;
/// The longest queue, whatever the prediction says.
const QUEUE_LENGTH_MAX: usize = 4_096;

/// What one verification found.
#[derive(Debug)]
pub struct Verification {
    /// Whether the password is the one that was hashed.
    pub matches: bool,
    /// What to store in place of the hash, if the password matched one that is not as new ones are.
    pub replacement: Option<String>,
}

/// Why a password was not verified.
#[derive(Debug, PartialEq, Eq)]
pub enum NotVerified {
    /// It would have had to wait longer than the deadline; better come back after this long.
    Overloaded {
        /// When the queue will have emptied.
        retry_after: Seconds,
    },
    /// The caller hung up before it was its turn.
    CallerGone,
    /// The hashing thread failed.
    Failed,
}

/// How the pool is laid out.
#[derive(Clone, Copy, Debug)]
pub struct HashingLimits {
    /// How many passwords are hashed at once.
    pub threads: usize,
    /// The most memory that one of them may take, in octets.
    pub memory_per_thread: u64,
    /// The longest wait for a turn.
    pub deadline: Duration,
    /// How long a thread without work keeps its memory.
    pub memory_idle: Duration,
    /// The cost of new hashes, and of the decoy.
    pub cost: ScryptCost,
}

/// What verifications are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FunctionLabels {
    /// `scrypt`, `bcrypt`, `pbkdf2` or `argon2`.
    pub function: &'static str,
}

/// What the pool tells of itself.
#[derive(Clone, Debug)]
pub struct HashingMetrics {
    /// Logins that wait for their turn.
    pub queue_depth: Gauge,
    /// Seconds from asking to the start of the hash.
    pub wait: Histogram,
    /// Seconds that a verification took.
    pub duration: Histogram,
    /// Verifications done, by what was computed.
    pub verified: Family<FunctionLabels, Counter>,
    /// Logins refused because the wait would have been too long.
    pub refused: Counter,
    /// Logins dropped because the caller had hung up.
    pub abandoned: Counter,
}

/// The hashing threads and their queue.
#[derive(Debug)]
pub struct HashingPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    limits: HashingLimits,
    metrics: HashingMetrics,
}

#[derive(Debug)]
struct State {
    jobs: Queue<Job>,
    running: usize,
    closed: bool,
    mean_seconds: f64,
}

#[derive(Debug)]
struct Job {
    password: Password,
    /// What to verify against; the decoy if there is nothing.
    stored: Option<PasswordHash>,
    replace: bool,
    asked_at: Instant,
    caller: Presence,
    reply: oneshot::Sender<Result<Verification, NotVerified>>,
}

impl HashingPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// What the system says if it has no threads left, or not so much memory.
    pub fn start(limits: HashingLimits, health: &Health) -> std::io::Result<Self> {
        let pool = Self { shared: Arc::new(Shared::new(limits)) };
        for number in 0..limits.threads {
            let shared = Arc::clone(&pool.shared);
            let memory = HashingMemory::reserve(limits.memory_per_thread);
            let mut memory = memory.map_err(std::io::Error::other)?;
            memory.test().map_err(std::io::Error::other)?;
            supervise_thread(format!("hashing-{number}"), health, move || {
                shared.work_until_closed(&mut memory);
                Ok(())
            })?;
        }
        Ok(pool)
    }

    /// How the pool is laid out.
    #[must_use]
    pub fn limits(&self) -> &HashingLimits {
        &self.shared.limits
    }

    /// What the pool tells of itself.
    #[must_use]
    pub fn metrics(&self) -> &HashingMetrics {
        &self.shared.metrics
    }

    /// Verifies a password against a stored hash; without one, does the work of a new one for nothing. A
    /// hash of another kind or cost is replaced only where `replace` says so: who may not log in must not learn from the
    /// time of a second hash that the password was right.
    ///
    /// # Errors
    /// [`NotVerified`]: nothing was computed and nothing is known of the password.
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
        replace: bool,
        turn: Turn,
        caller: Presence,
    ) -> Result<Verification, NotVerified> {
        let (reply, answer) = oneshot::channel();
        let job = Job { password, stored, replace, asked_at: Instant::now(), caller, reply };
        self.shared.admit(turn, job)?;
        answer.await.unwrap_or(Err(NotVerified::Failed))
    }
}

impl Drop for HashingPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn new(limits: HashingLimits) -> Self {
        let work = limits.cost.work();
        #[expect(clippy::cast_precision_loss, reason = "a first guess needs no precision")]
        let mean_seconds = work as f64 / ASSUMED_SPEED;
        let state = State { jobs: Queue::new(), running: 0, closed: false, mean_seconds };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            limits,
            metrics: HashingMetrics::new(),
        }
    }

    /// The queue and its state. A thread that panicked outside has not left it half-changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job into the queue, unless its turn would come too late.
    fn admit(&self, turn: Turn, job: Job) -> Result<(), NotVerified> {
        let (threads, deadline) = (self.limits.threads, self.limits.deadline.as_secs_f64());
        let mut state = self.lock();
        let is_full = |state: &State| state.jobs.len() >= QUEUE_LENGTH_MAX;
        if state.predicted_wait(&turn, threads) > deadline || is_full(&state) {
            // Those who hung up hold no place.
            for job in state.jobs.take_out(|waiting| waiting.caller.is_gone()) {
                self.abandon(job);
            }
        }
        let wait = state.predicted_wait(&turn, threads);
        let mut has_room = wait <= deadline;
        if has_room && is_full(&state) {
            // The client that is flooded gives way to the others.
            let last = state.jobs.give_way(&turn);
            has_room = last.is_some();
            if let Some(last) = last {
                self.refuse(last);
            }
        }
        self.metrics.queue_depth.set(as_gauge(state.jobs.len()));
        if !has_room {
            self.metrics.refused.inc();
            #[expect(clippy::cast_possible_truncation, reason = "a wait of seconds")]
            let retry_after = Seconds::new((wait.ceil() as i64).clamp(1, 60));
            return Err(NotVerified::Overloaded { retry_after });
        }
        state.jobs.push(turn, job);
        self.metrics.queue_depth.set(as_gauge(state.jobs.len()));
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// What each thread does.
    fn work_until_closed(&self, memory: &mut HashingMemory) {
        while let Some(job) = self.next(memory) {
            let running = Running(self);
            let started = Instant::now();
            let cost = self.limits.cost;
            let function = job.stored.as_ref().map_or("scrypt", PasswordHash::function);
            let outcome = catch_unwind(AssertUnwindSafe(|| job.verify(cost, memory)));
            let seconds = started.elapsed().as_secs_f64();
            self.metrics.duration.observe(seconds);
            self.metrics.verified.get_or_create(&FunctionLabels { function }).inc();

            let mut queue = self.lock();
            queue.mean_seconds += NEWEST_WEIGHT * (seconds - queue.mean_seconds);
            drop(queue);
            drop(running);
            // The caller may have gone meanwhile; there is nobody left to tell then.
            job.reply.send(outcome.map_err(|_| NotVerified::Failed)).ok();
        }
    }

    /// Waits until a job is there or the pool is closed; a wait of `memory_idle` gives the memory back.
    fn wait_for_work(&self, memory: &mut HashingMemory) -> MutexGuard<'_, State> {
        let is_idle = |queue: &mut State| queue.jobs.is_empty() && !queue.closed;
        let waited = self.work.wait_timeout_while(self.lock(), self.limits.memory_idle, is_idle);
        let (queue, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if !waited.timed_out() {
            return queue;
        }
        // Nobody who comes meanwhile waits for this thread to have done it.
        drop(queue);
        memory.give_back();
        let waited = self.work.wait_while(self.lock(), is_idle);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a job whose caller hung up.
    fn abandon(&self, job: Job) {
        self.metrics.abandoned.inc();
        job.reply.send(Err(NotVerified::CallerGone)).ok();
    }

    /// Answers a job whose turn does not come in time.
    fn refuse(&self, job: Job) {
        self.metrics.refused.inc();
        let retry_after = Seconds::new(1);
        job.reply.send(Err(NotVerified::Overloaded { retry_after })).ok();
    }

    /// Waits for the next job that is to be done, and counts it as running; `None` when the pool is
    /// closed.
    fn next(&self, memory: &mut HashingMemory) -> Option<Job> {
        if self.lock().jobs.is_empty() {
            // Otherwise the next hash overwrites it all, so this takes no time that anyone waits for.
            memory.wipe();
        }
        let mut queue = self.wait_for_work(memory);
        loop {
            if queue.closed {
                return None;
            }
            let Some(job) = queue.jobs.pop() else {
                drop(queue);
                queue = self.wait_for_work(memory);
                continue;
            };
            self.metrics.queue_depth.set(as_gauge(queue.jobs.len()));
            let waited = job.asked_at.elapsed();
            if job.caller.is_gone() {
                self.abandon(job);
            } else if waited > self.limits.deadline {
                // Others went first who came later: the answer is the same as if that had been known.
                self.refuse(job);
            } else {
                queue.running += 1;
                self.metrics.wait.observe(waited.as_secs_f64());
                return Some(job);
            }
        }
    }
}

/// A hash that is being computed: counted until dropped, also by a panic.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl State {
    /// How long a job that came now would wait for this turn, in seconds.
    fn predicted_wait(&self, turn: &Turn, threads: usize) -> f64 {
        let ahead = (self.jobs.ahead(turn) + self.running).saturating_sub(threads - 1);
        #[expect(clippy::cast_precision_loss, reason = "both are small")]
        let rounds = ahead as f64 / threads as f64;
        rounds * self.mean_seconds
    }
}

impl Job {
    /// The work itself.
    fn verify(&self, cost: ScryptCost, memory: &mut HashingMemory) -> Verification {
        let Some(stored) = &self.stored else {
            memory.decoy(&self.password, cost);
            return Verification { matches: false, replacement: None };
        };
        let right = stored.verify(&self.password, memory);
        let replacement = right
            .filter(|_| self.replace)
            .and_then(|form| stored.replacement(&self.password, form, cost, memory));
        Verification { matches: right.is_some(), replacement }
    }
}

fn as_gauge(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl HashingMetrics {
    fn new() -> Self {
        let verified = Family::default();
        for function in PasswordHash::FUNCTIONS {
            // What was never counted would be missing, and not 0.
            drop(verified.get_or_create(&FunctionLabels { function }));
        }
        let seconds = || Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0]);
        Self {
            queue_depth: Gauge::default(),
            wait: seconds(),
            duration: seconds(),
            verified,
            refused: Counter::default(),
            abandoned: Counter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::password;
    use crate::oauth::ClientId;
    use crate::presence::Waiting;
    use crate::secret::Secret;

    fn limits(deadline: Duration) -> HashingLimits {
        HashingLimits {
            threads: 1,
            memory_per_thread: 4 << 20,
            deadline,
            memory_idle: Duration::ZERO,
            cost: ScryptCost { ln: 12, r: 8, p: 1 },
        }
    }

    fn pool(deadline: Duration) -> HashingPool {
        HashingPool::start(limits(deadline), &Health::default()).expect("a thread to start")
    }

    fn verified(pool: &HashingPool) -> u64 {
        pool.metrics().verified.get_or_create(&FunctionLabels { function: "scrypt" }).get()
    }

    fn turn() -> Turn {
        Turn { client: ClientId::parse("client").expect("a name"), known: false }
    }

    fn presented(text: &str) -> Password {
        Password::new(Secret::new(text.to_owned()))
    }

    #[tokio::test]
    async fn an_outdated_hash_is_replaced_once_it_matched() {
        let pool = pool(Duration::from_mins(1));
        let old =
            password::hash(&Secret::new("password".to_owned()), ScryptCost { ln: 4, r: 8, p: 1 })
                .expect("memory");
        let stored = PasswordHash::parse(&old, u64::MAX).expect("our own format");
        let caller = Waiting::default();
        let wrong = presented("Password");
        let verify = |password, replace| {
            pool.verify(password, Some(stored.clone()), replace, turn(), caller.presence())
        };
        let verification = verify(wrong, true).await;
        assert!(verification.is_ok_and(|found| !found.matches && found.replacement.is_none()));
        let verification = verify(presented("password"), false).await;
        assert!(verification.is_ok_and(|found| found.matches && found.replacement.is_none()));
        let verification = verify(presented("password"), true).await;
        let replacement = verification.expect("a free pool").replacement.expect("a new hash");
        assert!(replacement.starts_with("$scrypt$ln=12,r=8,p=1$"), "{replacement}");
    }

    #[tokio::test]
    async fn a_caller_that_has_gone_costs_no_hash() {
        let pool = pool(Duration::from_mins(1));
        let presence = Waiting::default().presence();
        let outcome = pool.verify(presented("password"), None, true, turn(), presence).await;
        assert_eq!(outcome.err(), Some(NotVerified::CallerGone));
        assert_eq!((pool.metrics().abandoned.get(), verified(&pool)), (1, 0));
    }

    /// Who hung up makes room for others, and is told and counted as who hung up.
    #[test]
    fn callers_that_have_gone_make_room_in_a_full_queue() {
        // Without threads: the queue moves only by what comes.
        let shared = Shared::new(limits(Duration::from_secs(3)));
        (shared.lock().running, shared.lock().mean_seconds) = (1, 1.0);
        let admit = |caller| {
            let (reply, answer) = oneshot::channel();
            let (password, asked_at) = (presented("password"), Instant::now());
            let job = Job { password, stored: None, replace: true, asked_at, caller, reply };
            shared.admit(turn(), job).map(|()| answer)
        };
        let gone = || Waiting::default().presence();
        let answers: Vec<_> = (0..3).map(|_| admit(gone()).expect("room")).collect();
        let waiting = Waiting::default();
        let _answer = admit(waiting.presence()).expect("the room of those who have gone");
        for mut answer in answers {
            let outcome = answer.try_recv().expect("an answer");
            assert_eq!(outcome.err(), Some(NotVerified::CallerGone));
        }
        assert_eq!(shared.lock().jobs.len(), 1);
        assert_eq!((shared.metrics.abandoned.get(), shared.metrics.refused.get()), (3, 0));
    }

    #[tokio::test]
    async fn a_wait_beyond_the_deadline_is_refused_at_once() {
        let pool = pool(Duration::ZERO);
        let caller = Waiting::default();
        pool.shared.lock().running = 1;
        let outcome =
            pool.verify(presented("password"), None, true, turn(), caller.presence()).await;
        let retry_after = Seconds::new(1);
        assert_eq!(outcome.err(), Some(NotVerified::Overloaded { retry_after }));
        assert_eq!(verified(&pool), 0);
    }
}
