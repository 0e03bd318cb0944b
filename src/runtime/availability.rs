//! How long this replica has been able to answer, and whether its process stood still.
//!
//! A client that cannot get an answer is not late. So time in which this replica could not answer does not count
//! against a refresh token that was just exchanged: before the process started, while the database did not answer, and
//! while the process stood still (stopped, frozen, or without processor time).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;

use crate::clock::Clock;
use jeton_oauth::Seconds;

/// How often the process checks that it runs.
const TICK: Duration = Duration::from_millis(500);
/// How late a check must be to count as a standstill.
const STANDSTILL_MIN: Duration = Duration::from_secs(2);
/// How long the process counts as waking after a standstill: it first answers requests that waited in its sockets,
/// whose callers may have hung up long ago.
const WAKING: Seconds = Seconds::new(10);

const NEVER: i64 = i64::MIN;

/// How long this replica has been able to answer. Clones share their state.
#[derive(Clone, Debug)]
pub struct Availability(Arc<State>);

#[derive(Debug)]
struct State {
    clock: Clock,
    /// When this replica last became able to answer, in seconds of [`Clock::elapsed`].
    able_since: AtomicI64,
    /// When the process last woke from a standstill, in seconds of [`Clock::elapsed`].
    woke_at: AtomicI64,
    /// When the last check was, in milliseconds of [`Clock::timers`].
    looked_at: AtomicU64,
    standstills: Counter,
}

impl Availability {
    /// A replica that starts now.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let state = State {
            able_since: AtomicI64::new(clock.elapsed().get()),
            woke_at: AtomicI64::new(NEVER),
            looked_at: AtomicU64::new(milliseconds(clock.timers())),
            standstills: Counter::default(),
            clock,
        };
        Self(Arc::new(state))
    }

    /// How long this replica has been able to answer.
    #[must_use]
    pub fn able_for(&self) -> Seconds {
        self.look();
        self.since(&self.0.able_since)
    }

    /// Whether the process stood still within the last 10 seconds.
    #[must_use]
    pub fn is_waking(&self) -> bool {
        self.look();
        self.0.woke_at.load(Ordering::SeqCst) != NEVER && self.since(&self.0.woke_at) < WAKING
    }

    /// Notes that the database cannot be reached now.
    pub fn database_failed(&self) {
        self.0.able_since.store(self.0.clock.elapsed().get(), Ordering::SeqCst);
    }

    /// How often the process stood still.
    #[must_use]
    pub fn standstills(&self) -> &Counter {
        &self.0.standstills
    }

    /// Checks every half second that the process runs, until it is told to stop.
    pub async fn watch(self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look(),
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Notes a standstill if the last check is too long ago. Ticks and requests check; the first of them notices it.
    fn look(&self) {
        let state = &self.0;
        let now = milliseconds(state.clock.timers());
        let before = state.looked_at.fetch_max(now, Ordering::SeqCst);
        let late = Duration::from_millis(now.saturating_sub(before)).saturating_sub(TICK);
        if late >= STANDSTILL_MIN {
            let woke_at = state.clock.elapsed().get();
            state.able_since.store(woke_at, Ordering::SeqCst);
            state.woke_at.store(woke_at, Ordering::SeqCst);
            state.standstills.inc();
            tracing::warn!(
                "the process stood still for {:.1} s: it was stopped or frozen, or other programs \
                 took its processor",
                late.as_secs_f64()
            );
        }
    }

    fn since(&self, moment: &AtomicI64) -> Seconds {
        let since = moment.load(Ordering::SeqCst);
        Seconds::new(self.0.clock.elapsed().get().saturating_sub(since))
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_oauth::Timestamp;

    #[test]
    fn a_replica_is_able_since_its_start_the_last_failure_or_the_last_standstill() {
        let clock = Clock::settable(Timestamp(0));
        clock.advance(50);
        let availability = Availability::new(clock.clone());
        clock.advance(100);
        assert_eq!(availability.able_for(), Seconds::new(100));
        availability.database_failed();
        assert_eq!(availability.able_for(), Seconds::new(0));
        clock.jump(-1_000);
        clock.advance(5);
        assert_eq!(availability.able_for(), Seconds::new(5));
        assert!(!availability.is_waking());

        clock.stand_still(2);
        assert!(!availability.is_waking(), "not long enough to tell from a busy moment");
        clock.stand_still(3);
        assert!(availability.is_waking());
        clock.advance(9);
        assert!(availability.is_waking());
        clock.advance(1);
        assert!(!availability.is_waking());
        assert_eq!(availability.able_for(), Seconds::new(10));
        assert_eq!(availability.standstills().get(), 1);
    }
}
