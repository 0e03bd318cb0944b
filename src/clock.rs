//! The one place that reads the wall clock.
//!
//! Everything else is handed a [`Clock`], so that a test decides what time it is.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A span of whole seconds, never negative. On the command line `90s`, `10m`, `1h` or `30d`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seconds(i64);

impl Seconds {
    /// Days, hours, minutes and seconds, in seconds.
    const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

    /// A span of this many seconds; negative ones become zero.
    #[must_use]
    pub const fn new(seconds: i64) -> Self {
        Self(if seconds < 0 { 0 } else { seconds })
    }

    /// The number of seconds.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// How much longer this is than another span; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self::new(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, size): &&(&str, i64)| self.0 != 0 && self.0 % size == 0;
        let (unit, size) = Self::UNITS.iter().find(exact).unwrap_or(&("s", 1));
        write!(formatter, "{}{unit}", self.0 / size)
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|character: char| !character.is_ascii_digit());
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        Self::UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, size)| number.parse::<i64>().ok()?.checked_mul(*size))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a duration: write it as 90s, 10m, 1h or 30d"))
    }
}

/// A moment: whole seconds since the epoch, as in a JWT's `NumericDate` (RFC 7519 §2).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment this long after `self`, saturating at the end of time.
    #[must_use]
    pub fn after(self, span: Seconds) -> Self {
        Self(self.0.saturating_add(span.get()))
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Seconds {
        Seconds::new(self.0.saturating_sub(earlier.0).max(0))
    }
}

impl fmt::Display for Timestamp {
    /// The moment as RFC 3339 in UTC, for people.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Civil-from-days of the proleptic Gregorian calendar, counted in eras of 400 years
        // that begin on 1 March, so that the leap day is the last of its year.
        let (days, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// Tells the time: the system's, or one that a test sets.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until it is moved.
    Settable(Arc<SettableClock>),
}

/// A clock for tests: what it shows, how long it has run, what a clock shows that is never wrong, and for how long
/// the process stood still.
#[derive(Debug)]
pub struct SettableClock {
    shown: AtomicI64,
    elapsed: AtomicI64,
    /// By how much it is ahead of a clock that is never wrong.
    ahead: AtomicI64,
    stood_still: AtomicI64,
}

/// The wall clock beside a clock that nobody sets, read at the same moment. Both in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What the wall clock shows: milliseconds since the epoch.
    pub shown: i64,
    /// How long the machine has run, sleep included. Only differences mean anything.
    pub steady: i64,
}

/// The clock that nobody sets and that goes on while the machine sleeps, where there is one.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// When the process first asked how long it has run.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    /// A clock that shows `now` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn settable(now: Timestamp) -> Self {
        let [shown, elapsed, ahead, stood_still] = [now.0, 0, 0, 0].map(AtomicI64::new);
        Self::Settable(Arc::new(SettableClock { shown, elapsed, ahead, stood_still }))
    }

    /// The present moment.
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

    /// How long the clock has run, whatever it was set to meanwhile; since when does not matter.
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

    /// What another clock shows that was read as this when the steady clock showed that, in milliseconds since
    /// the epoch. Where a test moves time, the other clock is one that is never wrong.
    #[must_use]
    pub fn beside(&self, other: i64, steady: i64) -> i64 {
        match self {
            Self::System => other,
            Self::Settable(_) => steady,
        }
    }

    /// How long the timers of this process have run, by which a standstill is noticed. On a settable
    /// clock only [`Clock::stand_still`] moves them: time that a test lets pass is no standstill.
    #[must_use]
    pub fn timers(&self) -> Duration {
        match self {
            // While a machine sleeps its processes stand still too.
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

    /// Lets time pass on a settable clock as if the process had stood still meanwhile.
    pub fn stand_still(&self, seconds: i64) {
        self.advance(seconds);
        if let Self::Settable(clock) = self {
            clock.stood_still.fetch_add(seconds.max(0), Ordering::SeqCst);
        }
    }

    /// Lets time pass on a settable clock; backwards it sets this and all other clocks back, so that nobody
    /// notices. The system's clock does not obey.
    pub fn advance(&self, seconds: i64) {
        if let Self::Settable(clock) = self {
            clock.shown.fetch_add(seconds, Ordering::SeqCst);
            clock.elapsed.fetch_add(seconds.max(0), Ordering::SeqCst);
        }
    }

    /// Sets a settable clock forward or back by so much, without any time passing.
    pub fn jump(&self, seconds: i64) {
        if let Self::Settable(clock) = self {
            clock.shown.fetch_add(seconds, Ordering::SeqCst);
            clock.ahead.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    /// Sets a settable clock and all others forward or back by so much, so that nobody notices.
    pub fn jump_everywhere(&self, seconds: i64) {
        if let Self::Settable(clock) = self {
            clock.shown.fetch_add(seconds, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for text in ["90s", "10m", "1h", "30d", "0s"] {
            assert_eq!(text.parse::<Seconds>().map(|span| span.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "10", "m", "-1s", "1.5h", "10 m", "99999999999999999d"] {
            assert!(text.parse::<Seconds>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn moments_are_written_as_people_write_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp(seconds).to_string(), text);
        }
    }
}
