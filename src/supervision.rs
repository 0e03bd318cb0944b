//! Parts of the service that run as long as it does: a part that panics is started again, and says so.
//!
//! Without this a task that panics is gone in silence, and so is a thread.

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
/// How long a part that was started again must run before it counts as working.
const PROBATION: Duration = Duration::from_secs(1);
/// The most characters of a reason that are kept.
const REASON_LENGTH_MAX: usize = 300;

/// Which supervised parts are down. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<Arc<str>, Failure>>>);

/// The last failure of a part.
#[derive(Debug)]
struct Failure {
    reason: String,
    /// When the part was started again.
    restarted: Option<Instant>,
}

/// A part that is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Its name.
    pub part: Arc<str>,
    /// The text of its panic, or the error that it ended with. For the log: it may name paths and hosts.
    pub reason: String,
}

impl Health {
    /// The parts that are down: those that have not been started again, and those that were started
    /// again less than a second ago.
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

    /// Notes that a part failed, and logs it.
    fn failed(&self, part: &Arc<str>, reason: String) {
        tracing::error!(%part, "a part of the service failed and is started again: {reason}");
        self.lock().insert(Arc::clone(part), Failure { reason, restarted: None });
    }

    /// Notes that a part was started, perhaps again.
    fn started(&self, part: &str) {
        if let Some(failure) = self.lock().get_mut(part) {
            failure.restarted = Some(Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a part of the service as a task. If it panics or returns an error, that is logged and the part is
/// down; a second later `start` starts it again. The part ends for good by returning `Ok`.
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

/// Runs a part of the service in a thread of this name; otherwise as [`supervise`].
///
/// # Errors
/// What the system says if it has no thread left.
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
            // It may return early, and then the part is only started sooner.
            thread::park_timeout(PAUSE);
        }
    })
}

/// Awaits a future; its panic is an error.
async fn caught<F: Future<Output = Result<(), String>>>(future: F) -> Result<(), String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(panic_text(&*panic))))
    })
    .await
}

/// The text of a panic, cut to a length that fits a line.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text").chars().take(REASON_LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Waits until the health is as wanted, for a bounded time.
    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < end, "{what}");
            thread::yield_now();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_that_panics_is_down_and_is_started_again() {
        let health = Health::default();
        let (tell, told) = channel();
        let mut failures = vec![Some("an error"), None].into_iter();
        let task = supervise("upkeep", &health, move || {
            let (failure, tell) = (failures.next(), tell.clone());
            async move {
                match failure {
                    Some(None) => panic!("number {}", 5),
                    Some(Some(error)) => Err(error.to_owned()),
                    None => {
                        tell.send(()).expect("the test still waits");
                        std::future::pending().await
                    }
                }
            }
        });
        wait_until("an error puts it down", || {
            health.down() == [Down { part: "upkeep".into(), reason: "an error".to_owned() }]
        });
        wait_until("a panic puts it down", || {
            health.down() == [Down { part: "upkeep".into(), reason: "number 5".to_owned() }]
        });
        wait_until("it is started a third time", || told.try_recv().is_ok());
        wait_until("it works again", || health.down().is_empty());
        task.abort();
    }

    #[test]
    fn a_thread_that_panics_is_down_and_is_started_again() {
        let health = Health::default();
        let mut starts = 0;
        let thread = supervise_thread("hashing-0", &health, move || {
            starts += 1;
            assert!(starts > 1, "the first start");
            Ok(())
        });
        wait_until("a panic puts it down", || {
            health.down() == [Down { part: "hashing-0".into(), reason: "the first start".into() }]
        });
        thread.expect("a thread").join().expect("a part that returns ends for good");
        wait_until("its failure is over", || health.down().is_empty());
    }

    #[tokio::test]
    async fn a_part_that_returns_is_not_down() {
        let health = Health::default();
        supervise("upkeep", &health, || async { Ok(()) }).await.expect("no panic");
        assert_eq!(health.down(), []);
    }
}
