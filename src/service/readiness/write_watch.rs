//! Watches whether the database takes writes, for as long as somebody asks.
//!
//! A question is answered from what was seen, so a probe costs nothing and does not wait. One slow answer of the
//! database is no fault: a fault is reported when no write has succeeded for four seconds.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// How often a write is tried.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long one attempt may take: a little longer than SQLite waits for another process. The next attempt follows
/// immediately, so the end of a fault is noticed within three seconds.
const ATTEMPT_TIME_MAX: Duration = Duration::from_millis(2_500);
/// After how long without a success a fault is reported: longer than one abandoned attempt between two successes.
const FAULT_AFTER: Duration = Duration::from_secs(4);
/// How long attempts go on after the last question.
const ASKED_WITHIN: Duration = Duration::from_mins(1);

type Attempt = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Watches whether writes succeed.
pub struct WriteWatch {
    attempt: Box<dyn Fn() -> Attempt + Send + Sync>,
    asked: Mutex<Option<Instant>>,
    wake: Notify,
    seen: watch::Sender<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    ended: Option<Instant>,
    /// When the last successful attempt ended.
    succeeded: Option<Instant>,
    /// Why none has succeeded since, if an attempt has failed with a reason.
    problem: Option<String>,
}

impl fmt::Debug for WriteWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WriteWatch")
            .field("seen", &*self.seen.borrow())
            .finish_non_exhaustive()
    }
}

impl WriteWatch {
    /// Watches with this attempt to write.
    pub fn new<F>(attempt: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let attempt = Box::new(move || Box::pin(attempt()) as Attempt);
        let (asked, wake, seen) = (Mutex::default(), Notify::new(), watch::Sender::default());
        Self { attempt, asked, wake, seen }
    }

    /// Whether writes succeed. The first question after a pause waits for one attempt, at most 3 s.
    ///
    /// # Errors
    /// Why no write has succeeded for 4 seconds.
    pub async fn ask(&self) -> Result<(), String> {
        self.go_on();
        let mut seen = self.seen.subscribe();
        let latest = seen.wait_for(|seen| is_recent(seen.ended));
        let Ok(Ok(seen)) = timeout(ATTEMPT_TIME_MAX + INTERVAL / 2, latest).await else {
            return Err("it is not looked at".to_owned());
        };
        if is_recent(seen.succeeded) {
            return Ok(());
        }
        let no_answer = || format!("none ended within {ATTEMPT_TIME_MAX:?}");
        Err(seen.problem.clone().unwrap_or_else(no_answer))
    }

    /// Whether writes succeed, without waiting; `None` if nobody asked lately, so that it is not known.
    pub fn latest(&self) -> Option<bool> {
        self.go_on();
        let seen = self.seen.borrow();
        is_recent(seen.ended).then(|| is_recent(seen.succeeded))
    }

    /// Somebody asks: goes on for a while.
    fn go_on(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.wake.notify_one();
    }

    /// Tries again and again while somebody asks.
    pub async fn run(&self) {
        loop {
            let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.is_none_or(|asked| asked.elapsed() >= ASKED_WITHIN) {
                self.wake.notified().await;
                continue;
            }
            let begun = Instant::now();
            let outcome = timeout(ATTEMPT_TIME_MAX, (self.attempt)()).await;
            let ended = Instant::now();
            self.seen.send_modify(|seen| {
                seen.ended = Some(ended);
                match outcome {
                    Ok(Ok(())) => (seen.succeeded, seen.problem) = (Some(ended), None),
                    Ok(Err(problem)) => seen.problem = Some(problem),
                    Err(_) => {}
                }
            });
            sleep_until(begun + INTERVAL).await;
        }
    }
}

/// Whether a moment is so near that it still tells how things are.
fn is_recent(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at.elapsed() < FAULT_AFTER)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::{advance, sleep};

    use super::*;

    /// A database whose writes take so many milliseconds, or fail immediately at [`FAILS`].
    #[derive(Clone, Default)]
    struct Database {
        takes: Arc<AtomicU64>,
        attempts: Arc<AtomicU64>,
    }

    const FAILS: u64 = u64::MAX;
    const HANGS: u64 = 1_000_000;

    impl Database {
        fn takes(&self, milliseconds: u64) {
            self.takes.store(milliseconds, Ordering::SeqCst);
        }

        /// A running watch over it.
        fn watch(&self) -> Arc<WriteWatch> {
            let own = self.clone();
            let watch = Arc::new(WriteWatch::new(move || {
                own.attempts.fetch_add(1, Ordering::SeqCst);
                let takes = own.takes.load(Ordering::SeqCst);
                async move {
                    if takes == FAILS {
                        return Err("the disk is full".to_owned());
                    }
                    sleep(Duration::from_millis(takes)).await;
                    Ok(())
                }
            }));
            let running = Arc::clone(&watch);
            tokio::spawn(async move { running.run().await });
            watch
        }
    }

    /// Asks ten times a second for so many seconds. Returns the answers, with milliseconds since the start.
    async fn answers(watch: &WriteWatch, seconds: u64) -> Vec<(u128, bool)> {
        let begun = Instant::now();
        let mut all = Vec::new();
        while begun.elapsed() < Duration::from_secs(seconds) {
            let is_ready = watch.ask().await.is_ok();
            all.push((begun.elapsed().as_millis(), is_ready));
            sleep(Duration::from_millis(100)).await;
        }
        all
    }

    /// A lasting fault of any kind is reported within five seconds, and its end within three. Neither is taken back.
    #[tokio::test(start_paused = true)]
    async fn a_fault_is_told_in_time_and_so_is_its_end() {
        for fault in [FAILS, HANGS, 3_000] {
            // The fault may begin at any moment of an attempt.
            for phase in (0..4_000).step_by(250) {
                let database = Database::default();
                let watch = database.watch();
                let before = answers(&watch, 3).await;
                assert!(before.iter().all(|(_, is_ready)| *is_ready), "{before:?}");
                database.takes(fault);
                let during = answers(&watch, 20).await;
                let told = during.iter().position(|(_, is_ready)| !is_ready).expect("it is told");
                assert!(during[told].0 <= 5_000, "{fault}: {during:?}");
                assert!(during[told..].iter().all(|(_, is_ready)| !is_ready), "{during:?}");
                sleep(Duration::from_millis(phase)).await;
                database.takes(0);
                let after = answers(&watch, 10).await;
                let back = after.iter().position(|(_, is_ready)| *is_ready).expect("it is seen");
                assert!(after[back].0 <= 3_000, "{fault}: {after:?}");
                assert!(after[back..].iter().all(|(_, is_ready)| *is_ready), "{after:?}");
            }
        }
    }

    /// One write that fails, hangs or is slow is no fault.
    #[tokio::test(start_paused = true)]
    async fn one_slow_answer_is_no_fault() {
        for trouble in [FAILS, HANGS, 2_400] {
            let database = Database::default();
            let watch = database.watch();
            answers(&watch, 3).await;
            database.takes(trouble);
            let attempts = database.attempts.load(Ordering::SeqCst);
            let mut all = Vec::new();
            while database.attempts.load(Ordering::SeqCst) == attempts {
                all.extend(answers(&watch, 1).await);
            }
            database.takes(0);
            all.extend(answers(&watch, 10).await);
            assert!(all.iter().all(|(_, is_ready)| *is_ready), "{trouble}: {all:?}");
        }
    }

    /// However many ask, it writes once a second, and not at all after a minute without a question.
    #[tokio::test(start_paused = true)]
    async fn it_costs_one_write_a_second_while_somebody_asks() {
        let database = Database::default();
        let watch = database.watch();
        let many = (0..10).map(|_| {
            let watch = Arc::clone(&watch);
            tokio::spawn(async move { answers(&watch, 20).await.len() })
        });
        for one in many.collect::<Vec<_>>() {
            one.await.expect("no panic");
        }
        let attempts = database.attempts.load(Ordering::SeqCst);
        assert!((19..=21).contains(&attempts), "{attempts}");
        sleep(ASKED_WITHIN).await;
        let attempts = database.attempts.load(Ordering::SeqCst);
        advance(Duration::from_hours(1)).await;
        sleep(Duration::from_mins(1)).await;
        assert_eq!(database.attempts.load(Ordering::SeqCst), attempts);
        // The next question gets the current state.
        database.takes(FAILS);
        assert_eq!(watch.ask().await, Err("the disk is full".to_owned()));
    }
}
