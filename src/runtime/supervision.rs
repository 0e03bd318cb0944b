//! Restarts parts of the service that panic or fail, and logs that. Unsupervised, such a task or thread ends silently.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// How long a part stays down before it is started again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a restarted part must run before it counts as working.
const PROBATION: Duration = Duration::from_secs(1);
/// The most characters of a reason that are kept.
const REASON_LENGTH_MAX: usize = 300;

/// Which supervised parts are down. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<Arc<str>, Failure>>>);

#[derive(Debug)]
struct Failure {
    reason: String,
    /// `None` until the part is started again.
    restarted: Option<Instant>,
}

/// A part that is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Its name.
    pub part: Arc<str>,
    /// The text of its panic or its error. It is for the log only, because it may name paths and hosts.
    pub reason: String,
}

impl Health {
    /// The parts that are down: not yet started again, or started again less than a second ago.
    #[must_use]
    pub fn down(&self) -> Vec<Down> {
        let is_down = |failure: &Failure| {
            failure.restarted.is_none_or(|restarted| restarted.elapsed() < PROBATION)
        };
        let failures = self.lock();
        let down = failures.iter().filter(|(_, failure)| is_down(failure));
        down.map(|(part, failure)| Down { part: Arc::clone(part), reason: failure.reason.clone() })
            .collect()
    }

    fn failed(&self, part: &Arc<str>, reason: String) {
        tracing::error!(%part, "a part of the service failed and is started again: {reason}");
        self.lock().insert(Arc::clone(part), Failure { reason, restarted: None });
    }

    fn started(&self, part: &str) {
        if let Some(failure) = self.lock().get_mut(part) {
            failure.restarted = Some(Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a part of the service as a task. If it panics or returns an error, that is logged and the part is down; a
/// second later `start` starts it again. A part that returns `Ok` has ended for good.
pub fn supervise<F>(
    part: impl Into<Arc<str>>,
    health: &Health,
    mut start: impl FnMut() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let (part, health) = (part.into(), health.clone());
    tokio::spawn(async move {
        loop {
            health.started(&part);
            match caught(async { start().await }).await {
                Ok(()) => return,
                Err(reason) => health.failed(&part, reason),
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
}

/// Runs a part of the service in a thread of this name; otherwise like [`supervise`].
///
/// # Errors
/// The system has no thread left.
pub fn supervise_thread(
    part: impl Into<Arc<str>>,
    health: &Health,
    mut work: impl FnMut() -> Result<(), String> + Send + 'static,
) -> std::io::Result<thread::JoinHandle<()>> {
    let (part, health) = (part.into(), health.clone());
    thread::Builder::new().name(part.to_string()).spawn(move || {
        loop {
            health.started(&part);
            let ended = catch_unwind(AssertUnwindSafe(&mut work));
            match ended.unwrap_or_else(|panic| Err(panic_text(&*panic))) {
                Ok(()) => return,
                Err(reason) => health.failed(&part, reason),
            }
            // This may return early. Then the part is only started sooner.
            thread::park_timeout(PAUSE);
        }
    })
}

/// Awaits a future. Its panic becomes an error.
async fn caught<F: Future<Output = Result<(), String>>>(future: F) -> Result<(), String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(panic_text(&*panic))))
    })
    .await
}

/// The text of a panic, cut to 300 characters.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text").chars().take(REASON_LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Longer than any start takes.
    const LONG: Duration = Duration::from_mins(1);

    /// The last failure of the part, even if it counts as working again.
    fn last_failure(health: &Health, part: &str) -> Option<String> {
        health.lock().get(part).map(|failure| failure.reason.clone())
    }

    /// What each of the first three starts knew about earlier failures.
    fn first_three(told: &Receiver<Option<String>>) -> [Option<String>; 3] {
        [(); 3].map(|()| told.recv_timeout(LONG).expect("it is started again"))
    }

    #[test]
    fn a_part_is_down_from_its_failure_until_it_has_run_for_a_while() {
        let health = Health::default();
        assert_eq!(health.down(), []);
        health.failed(&"upkeep".into(), "a reason".to_owned());
        let down = [Down { part: "upkeep".into(), reason: "a reason".to_owned() }];
        assert_eq!(health.down(), down);
        let restart = |at| {
            health.lock().get_mut("upkeep").expect("it failed").restarted = at;
        };
        restart(Some(Instant::now() + LONG));
        assert_eq!(health.down(), down);
        restart(Instant::now().checked_sub(PROBATION));
        assert_eq!(health.down(), []);
        health.failed(&"upkeep".into(), "a reason".to_owned());
        assert_eq!(health.down(), down);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_that_fails_or_panics_is_started_again() {
        let health = Health::default();
        let (tell, told) = channel();
        let (known, mut starts) = (health.clone(), 0);
        let task = supervise("upkeep", &health, move || {
            starts += 1;
            tell.send(last_failure(&known, "upkeep")).ok();
            async move {
                match starts {
                    1 => Err("an error".to_owned()),
                    2 => panic!("number {starts}"),
                    _ => std::future::pending().await,
                }
            }
        });
        let expected = [None, Some("an error".to_owned()), Some("number 2".to_owned())];
        assert_eq!(first_three(&told), expected);
        task.abort();
    }

    #[test]
    fn a_thread_that_fails_or_panics_is_started_again() {
        let health = Health::default();
        let (tell, told) = channel();
        let (known, mut starts) = (health.clone(), 0);
        let thread = supervise_thread("hashing-0", &health, move || {
            starts += 1;
            tell.send(last_failure(&known, "hashing-0")).ok();
            match starts {
                1 => Err("an error".to_owned()),
                2 => panic!("number {starts}"),
                _ => Ok(()),
            }
        });
        let expected = [None, Some("an error".to_owned()), Some("number 2".to_owned())];
        assert_eq!(first_three(&told), expected);
        thread.expect("a thread").join().expect("a part that returns ends for good");
    }

    #[tokio::test]
    async fn a_part_that_returns_is_not_down() {
        let health = Health::default();
        supervise("upkeep", &health, || async { Ok(()) }).await.expect("no panic");
        assert_eq!(health.down(), []);
    }
}
