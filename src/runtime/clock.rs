//! The one place that reads the wall clock. Other code is given a [`Clock`], so that a test decides what time it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use jeton_oauth::{Seconds, Timestamp};

/// A source of time: the system's clock, or one that a test sets.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until a test moves it.
    Settable(Arc<SettableClock>),
}

/// A clock for tests. All its values are in seconds.
#[derive(Debug)]
pub struct SettableClock {
    shown: AtomicI64,
    elapsed: AtomicI64,
    /// How much it is ahead of a clock that is never wrong.
    ahead: AtomicI64,
    stood_still: AtomicI64,
}

/// The wall clock and the steady clock, which nobody sets, read at the same moment and in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What the wall clock shows, since the epoch.
    pub shown: i64,
    /// How long the machine has run, sleep included. Only differences have a meaning.
    pub steady: i64,
}

/// The steady clock. Where the system has such a clock, it goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// When [`Clock::elapsed`] was first called.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    /// A clock that shows `now` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn settable(now: Timestamp) -> Self {
        let [shown, elapsed, ahead, stood_still] = [now.0, 0, 0, 0].map(AtomicI64::new);
        Self::Settable(Arc::new(SettableClock { shown, elapsed, ahead, stood_still }))
    }

    /// The current time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
            }
            Self::Settable(clock) => Timestamp(clock.shown.load(Ordering::SeqCst)),
        }
    }

    /// How long the clock has run, whatever it was set to meanwhile. Only differences have a meaning.
    #[must_use]
    pub fn elapsed(&self) -> Seconds {
        match self {
            Self::System => {
                Seconds::new(i64::try_from(BEGINNING.elapsed().as_secs()).unwrap_or(i64::MAX))
            }
            Self::Settable(clock) => Seconds::new(clock.elapsed.load(Ordering::SeqCst)),
        }
    }

    /// Reads the wall clock and the steady clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn reading(&self) -> Reading {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let steady = clock_gettime(STEADY);
                Reading {
                    shown: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
                    steady: steady.tv_sec * 1_000 + steady.tv_nsec / 1_000_000,
                }
            }
            Self::Settable(clock) => {
                let shown = clock.shown.load(Ordering::SeqCst);
                let right = shown.saturating_sub(clock.ahead.load(Ordering::SeqCst));
                let [shown, steady] = [shown, right].map(|moment| moment.saturating_mul(1_000));
                Reading { shown, steady }
            }
        }
    }

    /// What another clock shows, in milliseconds since the epoch. It was read as `other` when the steady clock showed
    /// `steady`. Beside a settable clock, the other clock is one that is never wrong.
    #[must_use]
    pub fn beside(&self, other: i64, steady: i64) -> i64 {
        match self {
            Self::System => other,
            Self::Settable(_) => steady,
        }
    }

    /// How long the timers of this process have run; a standstill is noticed by them. On a settable clock only
    /// [`Clock::stand_still`] moves them, because time that a test lets pass is no standstill.
    #[must_use]
    pub fn timers(&self) -> Duration {
        match self {
            // While a machine sleeps, its processes stand still too.
            Self::System => {
                let since = clock_gettime(STEADY);
                let seconds = u64::try_from(since.tv_sec).unwrap_or_default();
                Duration::from_secs(seconds) + Duration::from_nanos(since.tv_nsec.unsigned_abs())
            }
            Self::Settable(clock) => {
                let seconds = clock.stood_still.load(Ordering::SeqCst);
                Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
            }
        }
    }

    /// Lets time pass on a settable clock as if the process stood still meanwhile.
    pub fn stand_still(&self, seconds: i64) {
        self.advance(seconds);
        if let Self::Settable(clock) = self {
            clock.stood_still.fetch_add(seconds.max(0), Ordering::SeqCst);
        }
    }

    /// Lets time pass on a settable clock. A negative number sets this and all other clocks back, so that nobody
    /// notices. The system's clock does not change.
    pub fn advance(&self, seconds: i64) {
        if let Self::Settable(clock) = self {
            clock.shown.fetch_add(seconds, Ordering::SeqCst);
            clock.elapsed.fetch_add(seconds.max(0), Ordering::SeqCst);
        }
    }

    /// Sets a settable clock forward or back without time passing.
    pub fn jump(&self, seconds: i64) {
        if let Self::Settable(clock) = self {
            clock.shown.fetch_add(seconds, Ordering::SeqCst);
            clock.ahead.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    /// Sets a settable clock and all others forward or back, so that nobody notices.
    pub fn jump_everywhere(&self, seconds: i64) {
        if let Self::Settable(clock) = self {
            clock.shown.fetch_add(seconds, Ordering::SeqCst);
        }
    }
}
