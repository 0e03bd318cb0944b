//! Password hashing under load: a fixed number of threads, a fixed amount of memory, a bounded wait.
//!
//! A hash costs a thousand times as much as anything else that this service does. So it never runs on the async
//! runtime. A login that could not be served in time is refused before it costs anything, which keeps the others fast.
//!
//! A thread computes several hashes at once, each in a lane of the processor's vectors: eight take twice as long as
//! one. A free thread starts with the jobs that wait, and does not wait for more. So batches are as large as the load.
//!
//! Clients take turns (`queue`), so a flood of one client does not take the turns of another. The first job in the
//! queue decides what a batch computes. Later jobs of the same cost join it, in their turns.
//!
//! Each thread reserves its memory when it starts, so the total is known beforehand. After a while without work it
//! gives back what it used.

mod job;
mod metrics;
mod queue;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::password::{Hashed, HashingMemory, Kernel, PasswordHash, lanes};
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{ScryptCost, Seconds};
use jeton_runtime::caller::CallerConnection;
use jeton_runtime::supervision::{Health, supervise_thread};
use job::{Batch, Job};
pub use metrics::{FunctionLabels, HashingMetrics};
use queue::Queue;
pub use queue::Requester;

/// How fast scrypt fills memory, in octets per second. It is assumed until it was measured.
const ASSUMED_SPEED: f64 = 512e6;
/// The weight of the newest batch in the running means of durations.
const NEWEST_WEIGHT: f64 = 0.2;
/// The longest queue, whatever wait is predicted.
const QUEUE_LENGTH_MAX: usize = 4_096;

/// How long an idle thread waits before it wipes its memory. The callers that it has answered may come back sooner, and
/// the next hash overwrites the same memory.
const WIPED_AFTER: Duration = Duration::from_millis(50);
/// How long replacements of hashes gather while passwords wait to be verified. Together they fill a batch; one by one,
/// each would take as long as a batch.
const GATHERING: Duration = Duration::from_millis(500);

/// The result of a verification.
#[derive(Debug)]
pub struct Verification {
    /// Whether the password matches the hash.
    pub matches: bool,
    /// The hash to store instead, if the password matched and the stored hash is not as new ones are.
    pub replacement: Option<String>,
}

/// Why a password was not verified.
#[derive(Debug, PartialEq, Eq)]
pub enum NotVerified {
    /// It would have had to wait longer than the deadline.
    Overloaded {
        /// After how long the caller should try again.
        retry_after: Seconds,
    },
    /// The caller hung up before its turn.
    CallerGone,
    /// The hashing thread failed.
    Failed,
}

/// The size and the limits of the pool.
#[derive(Clone, Copy, Debug)]
pub struct HashingLimits {
    /// How many threads hash.
    pub threads: usize,
    /// The kernel that computes scrypt.
    pub kernel: Kernel,
    /// The memory of each thread, for all that it computes at once, in octets.
    pub memory_per_thread: u64,
    /// The longest wait for a turn.
    pub deadline: Duration,
    /// How long a thread without work keeps its memory.
    pub memory_idle: Duration,
    /// The cost of new hashes, and of the work done without a stored hash.
    pub cost: ScryptCost,
}

impl HashingLimits {
    /// How many hashes of this cost a thread computes at once.
    #[must_use]
    pub fn lanes(&self, cost: ScryptCost) -> usize {
        lanes(self.kernel, self.memory_per_thread, cost)
    }
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
    /// [`GATHERING`], but in tests.
    gathering: Duration,
    metrics: HashingMetrics,
}

#[derive(Debug)]
struct State {
    jobs: Queue<Job>,
    /// Jobs whose password matched and whose hash is to be replaced. They have had their turn.
    to_replace: VecDeque<Job>,
    running: usize,
    closed: bool,
    /// The mean duration of a batch, and that of a batch whose lanes are all taken.
    mean_seconds: f64,
    full_seconds: f64,
}

impl HashingPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system does not have the threads or the memory, or this processor computes wrong hashes.
    pub fn start(limits: HashingLimits, health: &Health) -> std::io::Result<Self> {
        let pool = Self { shared: Arc::new(Shared::new(limits)) };
        for number in 0..limits.threads {
            let shared = Arc::clone(&pool.shared);
            let memory = HashingMemory::reserve_for(limits.kernel, limits.memory_per_thread);
            let mut memory = memory.map_err(std::io::Error::other)?;
            if number == 0 {
                // The other threads compute in the same way.
                memory.test().map_err(std::io::Error::other)?;
            }
            supervise_thread(format!("hashing-{number}"), health, move || {
                shared.work_until_closed(&mut memory);
                Ok(())
            })?;
        }
        Ok(pool)
    }

    /// The size and the limits of the pool.
    #[must_use]
    pub fn limits(&self) -> &HashingLimits {
        &self.shared.limits
    }

    /// The metrics of the pool.
    #[must_use]
    pub fn metrics(&self) -> &HashingMetrics {
        &self.shared.metrics
    }

    /// Verifies a password against a stored hash. Without one, it does the work of a new hash for nothing. A hash of
    /// another kind or cost is replaced only if `replace` is true: a user who may not log in must not learn from the
    /// time of a second hash that the password was right.
    ///
    /// # Errors
    /// [`NotVerified`]: nothing was computed, and nothing is known about the password.
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
        replace: bool,
        requester: Requester,
        caller: CallerConnection,
    ) -> Result<Verification, NotVerified> {
        let (reply, answer) = oneshot::channel();
        let asked_at = Instant::now();
        let job = Job { password, stored, replace, asked_at, caller, reply, replacement: None };
        self.shared.admit(requester, job)?;
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
        let (jobs, to_replace) = (Queue::new(), VecDeque::new());
        // Measured with eight lanes. Fewer lanes take less.
        let full_seconds = if limits.lanes(limits.cost) > 1 { 2.0 } else { 1.0 } * mean_seconds;
        let (running, closed) = (0, false);
        let state = State { jobs, to_replace, running, closed, mean_seconds, full_seconds };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            limits,
            gathering: GATHERING,
            metrics: HashingMetrics::new(),
        }
    }

    /// The queue and its state. Threads panic only outside of this lock, so the state is never half-changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job into the queue, unless its turn would come too late.
    fn admit(&self, requester: Requester, job: Job) -> Result<(), NotVerified> {
        let deadline = self.limits.deadline.as_secs_f64();
        let mut state = self.lock();
        let is_full = |state: &State| state.jobs.len() >= QUEUE_LENGTH_MAX;
        if state.predicted_wait(&requester, &self.limits) > deadline || is_full(&state) {
            // A job whose caller hung up takes no place.
            for job in state.jobs.take_out(|waiting| waiting.caller.is_gone()) {
                self.abandon(job);
            }
        }
        let wait = state.predicted_wait(&requester, &self.limits);
        let mut has_room = wait <= deadline;
        if has_room && is_full(&state) {
            // The last job of the client with the most jobs is evicted.
            let last = state.jobs.evict(&requester);
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
        state.jobs.push(requester, job);
        self.metrics.queue_depth.set(as_gauge(state.jobs.len()));
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    fn work_until_closed(&self, memory: &mut HashingMemory) {
        while let Some(batch) = self.next(memory) {
            self.run(batch, memory);
        }
    }

    fn run(&self, batch: Batch, memory: &mut HashingMemory) {
        let running = Running(self);
        let started = Instant::now();
        let hashed = catch_unwind(AssertUnwindSafe(|| batch.compute(memory)));
        let seconds = started.elapsed().as_secs_f64();
        self.metrics.count_batch(&batch, seconds);

        self.lock().learn(seconds, batch.is_full());
        drop(running);
        match hashed {
            Ok(hashed) => self.go_on(batch, hashed),
            Err(_) => batch.jobs.into_iter().for_each(|job| job.answer(Err(NotVerified::Failed))),
        }
    }

    /// Answers the jobs of a batch, except those whose hash is to be replaced. They wait for another batch.
    fn go_on(&self, batch: Batch, hashed: Vec<Hashed>) {
        let cost = self.limits.cost;
        let jobs = batch.jobs.into_iter().zip(hashed);
        let to_replace: Vec<_> = jobs.filter_map(|(job, hashed)| job.go_on(hashed, cost)).collect();
        // This thread takes its next batch now, so no other thread need be notified.
        self.lock().to_replace.extend(to_replace);
    }

    /// Waits until there is a job, or the pool is closed. After a moment without work it wipes what hashes left behind.
    /// After `memory_idle` it gives the memory back.
    fn wait_for_work(&self, memory: &mut HashingMemory) -> MutexGuard<'_, State> {
        // The lock is free meanwhile. So a job that comes then waits for this thread only if there is no other.
        if let Some(state) = self.wait_for(WIPED_AFTER) {
            return state;
        }
        memory.wipe();
        if let Some(state) = self.wait_for(self.limits.memory_idle) {
            return state;
        }
        memory.give_back();
        let waited = self.work.wait_while(self.lock(), |state| state.is_idle());
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work, but no longer than this; `None` if none came.
    fn wait_for(&self, time: Duration) -> Option<MutexGuard<'_, State>> {
        let is_idle = |state: &mut State| state.is_idle();
        let waited = self.work.wait_timeout_while(self.lock(), time, is_idle);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        (!waited.timed_out()).then_some(state)
    }

    fn abandon(&self, job: Job) {
        self.metrics.abandoned.inc();
        job.answer(Err(NotVerified::CallerGone));
    }

    /// Answers a job whose turn does not come in time.
    fn refuse(&self, job: Job) {
        self.metrics.refused.inc();
        job.answer(Err(NotVerified::Overloaded { retry_after: Seconds::new(1) }));
    }

    /// Begins a job whose turn has come. `None` if its caller hung up or it has waited too long; then it is answered.
    fn begin(&self, job: Job) -> Option<Job> {
        if job.replacement.is_some() {
            return Some(job);
        }
        if job.caller.is_gone() {
            self.abandon(job);
            return None;
        }
        let waited = job.asked_at.elapsed();
        if waited > self.limits.deadline {
            // Jobs that came later went first. The answer is the one that it would have got if that had been known.
            self.refuse(job);
            return None;
        }
        self.metrics.wait.observe(waited.as_secs_f64());
        Some(job)
    }

    /// Waits for the next job, batches others with it, and counts the batch as running. `None` when the pool is closed.
    fn next(&self, memory: &mut HashingMemory) -> Option<Batch> {
        let mut state = self.wait_for_work(memory);
        loop {
            if state.closed {
                return None;
            }
            let Some(first) = self.first(&mut state) else {
                drop(state);
                state = self.wait_for_work(memory);
                continue;
            };
            let begun = self.begin(first).map(|first| self.fill(first, &mut state));
            self.metrics.queue_depth.set(as_gauge(state.jobs.len()));
            if let Some(batch) = begun {
                state.running += 1;
                return Some(batch);
            }
        }
    }

    /// The first job of the next batch. Replacements gather while passwords wait to be verified, but not for long.
    fn first(&self, state: &mut State) -> Option<Job> {
        let is_full = state.to_replace.len() >= self.limits.lanes(self.limits.cost);
        let longest = state.to_replace.front().and_then(|job| job.replacement.as_ref());
        let waits_long = longest.is_some_and(|longest| longest.since.elapsed() >= self.gathering);
        if is_full || waits_long || state.jobs.is_empty() {
            state.to_replace.pop_front().or_else(|| state.jobs.pop())
        } else {
            state.jobs.pop()
        }
    }

    /// A batch of this job and of those that can be computed with it.
    fn fill(&self, first: Job, state: &mut State) -> Batch {
        let mut batch = Batch::of(first, &self.limits);
        batch.take(&mut state.to_replace);
        let deadline = self.limits.deadline;
        let fits = |job: &Job| job.is_out(deadline) || batch.has_room_for(job);
        let fitting = state.jobs.pop_fitting(fits);
        batch.jobs.extend(fitting.into_iter().filter_map(|job| self.begin(job)));
        batch
    }
}

/// Counts a batch as running until it is dropped, even by a panic.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.to_replace.is_empty() && !self.closed
    }

    /// How long a job of this requester that came now would wait, in seconds.
    fn predicted_wait(&self, requester: &Requester, limits: &HashingLimits) -> f64 {
        let ahead = self.to_replace.iter().chain(self.jobs.ahead(requester));
        // The job joins the last batch, unless that is full.
        let batches = ahead.map(|job| job.share(limits)).sum::<f64>().floor();
        #[expect(clippy::cast_precision_loss, reason = "both are small")]
        let (running, threads) = (self.running as f64, limits.threads as f64);
        // One thread is for the job itself. The other free threads take what is ahead of it.
        let free = threads - 1.0 - running;
        let rest_of_running = (-free).max(0.0) * self.mean_seconds;
        let before = (batches - free.max(0.0)).max(0.0) * self.full_seconds;
        (rest_of_running + before) / threads
    }

    fn learn(&mut self, seconds: f64, is_full: bool) {
        self.mean_seconds += NEWEST_WEIGHT * (seconds - self.mean_seconds);
        if is_full {
            self.full_seconds += NEWEST_WEIGHT * (seconds - self.full_seconds);
        }
    }
}

fn as_gauge(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
