//! Compares the wall clock with a second clock, and tells the time only while both agree.
//!
//! On PostgreSQL the second clock is the database server's. Every replica asks it every few seconds, and between two
//! answers counts on with the steady (monotonic) clock of its machine. SQLite has no server, so there the second clock
//! is the past of the first: what it showed, plus how long the machine has run since. At the start that is the latest
//! date recorded in the database.
//!
//! While the clock is off by more than `OFFSET_MAX`, nothing is decided: a wrong clock would end sessions that are
//! alive, and accept tokens that have expired. Times without another unit are in milliseconds.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Refusal;
use jeton_oauth::{Seconds, Timestamp};
use jeton_runtime::clock::{Clock, Reading};
use jeton_store::clock::{CorrectClock, ReadClock, RecordClock};
use jeton_store::{Store, StoreError};

/// How far the clock may be from the second one. The life cycle of keys allows for this much (`crypto/key_lifecycle`).
const OFFSET_MAX: i64 = 30_000;
/// The offset from which on a warning is logged.
const OFFSET_LOGGED: i64 = 5_000;
/// A slower answer of the database says too little about its clock, so it is not used.
const ROUND_TRIP_MAX: i64 = 2_000;
/// How long a clock without a second one must run evenly after it was set, before it is believed.
const BELIEVED_AFTER: i64 = 5 * 60_000;
/// The same for a small change, which does little harm if it is wrong: after a suspension, or a correction by NTP.
const SMALL_CHANGE_BELIEVED_AFTER: i64 = 10_000;
/// The small changes, from one hour back to twelve hours forward.
const SMALL_CHANGE: std::ops::RangeInclusive<i64> = -3_600_000..=12 * 3_600_000;
/// The same if the clock shows an earlier date than the recorded one: then one of the two is wrong.
const BELIEVED_AGAINST_RECORD_AFTER: i64 = 60 * 60_000;
/// How far a clock may drift meanwhile and count as running evenly.
const DRIFT_MAX: i64 = 2_000;
/// How long a clock must have agreed before rows are deleted or keys made by it. It is longer than the hour for which a
/// clock may be wrong unnoticed.
const PROVEN_AFTER: i64 = 70 * 60_000;
/// A clock that shows a date so soon after the recorded one is taken for the clock that recorded it.
const PROVEN_WITHIN: Seconds = Seconds::new(12 * 3_600);
/// How long an expired row is kept: longer than [`PROVEN_WITHIN`], so no proven clock deletes what is alive.
const GRACE: Seconds = Seconds::new(24 * 3_600);
const RECORD_EVERY: i64 = 60_000;
/// `Retry-After` while the clock is off.
const RETRY_AFTER: Seconds = Seconds::new(5);

/// The wall clock, compared with a second one.
#[derive(Debug)]
pub struct AgreedClock {
    clock: Clock,
    store: Store,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// What a correct wall clock would show, minus the steady clock.
    reference: i64,
    /// Whether the reference is only a lower bound, as a recorded date is.
    at_least: bool,
    /// Since when the clock has agreed, by the steady clock.
    agreed_since: Option<i64>,
    /// For a clock that is off: what it shows minus the steady clock, and since when, by the steady clock.
    set_to: Option<(i64, i64)>,
    /// The latest date that a replica recorded.
    seen_at: Option<Timestamp>,
    /// When this replica last recorded a date, by the steady clock.
    recorded: Option<i64>,
    /// The distance that was last logged.
    logged: Distance,
}

/// How far the clock is from the second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distance {
    Near,
    WorthLogging,
    Off,
}

impl Distance {
    fn of(ahead: i64) -> Self {
        match ahead.abs() {
            0..=OFFSET_LOGGED => Self::Near,
            ..=OFFSET_MAX => Self::WorthLogging,
            _ => Self::Off,
        }
    }
}

/// How far the clock is from the second one. As an error, it is further than `OFFSET_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOff {
    /// By how many milliseconds it is ahead; negative if it is behind.
    ahead: i64,
    has_second: bool,
}

impl fmt::Display for ClockOff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, side) =
            (self.ahead.abs() / 1_000, if self.ahead > 0 { "ahead of" } else { "behind" });
        let other = if self.has_second {
            "the clock of the database server: set the one that is wrong (NTP)"
        } else {
            "what it should show by the time that has passed: set it right (NTP)"
        };
        write!(formatter, "the clock of this machine is {by} s {side} {other}")
    }
}

impl From<ClockOff> for Refusal {
    fn from(off: ClockOff) -> Self {
        Self::Unavailable { retry_after: RETRY_AFTER, detail: off.to_string() }
    }
}

/// What a comparison found, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    /// It was set by this many milliseconds, fewer than `OFFSET_MAX`.
    WasSet(i64),
    /// It was set by this many milliseconds, and has run evenly long enough since.
    Believed(i64),
}

impl State {
    /// By how many milliseconds the clock is ahead of the reference.
    fn ahead(&self, reading: Reading) -> i64 {
        let ahead = reading.shown.saturating_sub(reading.steady).saturating_sub(self.reference);
        if self.at_least { ahead.min(0) } else { ahead }
    }

    fn agrees(&self, reading: Reading) -> bool {
        self.ahead(reading).abs() <= OFFSET_MAX
    }

    /// Whether the clock has agreed for so long, or is so near to the recorded date, that rows may be deleted by it.
    fn is_proven(&self, reading: Reading) -> bool {
        let now = Timestamp(reading.shown.div_euclid(1_000));
        let for_long = self.agreed_since.is_some_and(|at| reading.steady - at >= PROVEN_AFTER);
        let goes_on = self.seen_at.is_some_and(|seen_at| {
            now.since(seen_at) <= PROVEN_WITHIN && seen_at.since(now).get() * 1_000 <= OFFSET_MAX
        });
        self.agrees(reading) && (for_long || goes_on)
    }

    /// Takes the time of the database as the reference. `steady` is when the database read it.
    fn compare(&mut self, reading: Reading, database: i64, steady: i64) {
        (self.reference, self.at_least) = (database - steady, false);
        self.update_agreement(reading);
    }

    /// Compares the clock with its own past. A clock that was set is believed once it has run evenly for long enough.
    fn compare_with_past(&mut self, reading: Reading) -> Finding {
        let (own, ahead) = (reading.shown - reading.steady, self.ahead(reading));
        if self.agrees(reading) {
            // The reference follows, so the small corrections of NTP do not add up.
            (self.reference, self.at_least, self.set_to) = (own, false, None);
            self.update_agreement(reading);
            let near = Distance::of(ahead) == Distance::Near;
            return if near { Finding::Nothing } else { Finding::WasSet(ahead) };
        }
        self.update_agreement(reading);
        let (shown, since) = match self.set_to {
            Some((shown, since)) if (own - shown).abs() <= DRIFT_MAX => (shown, since),
            _ => (own, reading.steady),
        };
        self.set_to = Some((shown, since));
        let against_record =
            self.seen_at.is_some_and(|at| reading.shown < at.0 * 1_000 - OFFSET_MAX);
        let patience = match ahead {
            _ if SMALL_CHANGE.contains(&ahead) => SMALL_CHANGE_BELIEVED_AFTER,
            _ if against_record => BELIEVED_AGAINST_RECORD_AFTER,
            _ => BELIEVED_AFTER,
        };
        if reading.steady - since < patience {
            return Finding::Nothing;
        }
        (self.reference, self.at_least, self.set_to) = (own, false, None);
        self.update_agreement(reading);
        Finding::Believed(ahead)
    }

    fn update_agreement(&mut self, reading: Reading) {
        self.agreed_since = match self.agreed_since {
            _ if !self.agrees(reading) => None,
            None => Some(reading.steady),
            since => since,
        };
    }
}

impl AgreedClock {
    /// Compares the clock for the first time, and records nothing. A replica starts even if its clock is off: it serves
    /// the documents that verifiers need, and the rest when the clock is right.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer.
    pub async fn open(clock: Clock, store: Store) -> Result<Self, StoreError> {
        let seen_at = store.perform(ReadClock).await?;
        let reading = clock.reading();
        let recorded = seen_at.map(|at| at.0.saturating_mul(1_000));
        let state = State {
            reference: recorded.unwrap_or(reading.shown) - reading.steady,
            at_least: recorded.is_some(),
            agreed_since: None,
            set_to: None,
            seen_at,
            recorded: None,
            logged: Distance::Near,
        };
        let agreed = Self { clock, store, state: Mutex::new(state) };
        agreed.compare().await?;
        Ok(agreed)
    }

    /// Does the same for a replica, which also records the date, unless the database takes no changes.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer.
    pub async fn start(clock: Clock, store: Store) -> Result<Self, StoreError> {
        let agreed = Self::open(clock, store).await?;
        match agreed.record(agreed.clock.reading()).await {
            Ok(()) | Err(StoreError::Closed | StoreError::Outdated) => Ok(agreed),
            Err(error) => Err(error),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time.
    ///
    /// # Errors
    /// [`ClockOff`] if the clock is off, so nothing may be decided by it.
    pub fn now(&self) -> Result<Timestamp, ClockOff> {
        let reading = self.clock.reading();
        let (ahead, has_second) = (self.state().ahead(reading), self.store.has_clock());
        if ahead.abs() > OFFSET_MAX {
            return Err(ClockOff { ahead, has_second });
        }
        Ok(self.clock.now())
    }

    /// The best known time: while the clock is off, the second clock's. It is for work that goes on meanwhile, such as
    /// the choice of published keys.
    #[must_use]
    pub fn presumed_now(&self) -> Timestamp {
        let reading = self.clock.reading();
        let ahead = self.state().ahead(reading);
        if ahead.abs() <= OFFSET_MAX {
            return self.clock.now();
        }
        Timestamp(reading.shown.saturating_sub(ahead).div_euclid(1_000))
    }

    /// How long the clock has run since some fixed moment, unaffected by being set.
    #[must_use]
    pub fn elapsed(&self) -> Seconds {
        self.clock.elapsed()
    }

    /// By how many seconds the clock is ahead of the second one; negative if it is behind.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a distance between clocks, for a gauge")]
    pub fn offset(&self) -> f64 {
        self.state().ahead(self.clock.reading()) as f64 / 1_000.0
    }

    /// The date before which expired rows may be deleted: a day ago, or `None` while the clock is not proven.
    #[must_use]
    pub fn deletable_before(&self) -> Option<Timestamp> {
        let reading = self.clock.reading();
        let proven = self.state().is_proven(reading);
        proven.then(|| Timestamp(self.clock.now().0.saturating_sub(GRACE.get())))
    }

    /// The same by the recorded date, for work that cannot wait until the clock is proven.
    #[must_use]
    pub fn recorded_deletable_before(&self) -> Option<Timestamp> {
        let (seen_at, now) = (self.state().seen_at, self.clock.now());
        seen_at.map(|at| Timestamp(at.min(now).0.saturating_sub(GRACE.get())))
    }

    /// Whether the clock is proven. Only then is a key made in addition to one that works.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let reading = self.clock.reading();
        self.state().is_proven(reading)
    }

    /// Compares the clock, and once a minute records the date.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer. Then the clock is judged by what was known before.
    pub async fn measure(&self) -> Result<(), StoreError> {
        let finding = self.compare().await?;
        if let Finding::Believed(by) = finding {
            self.believe(by).await?;
        }
        self.record(self.clock.reading()).await
    }

    async fn compare(&self) -> Result<Finding, StoreError> {
        let before = self.clock.reading();
        let answer = self.store.database_clock().await;
        let reading = self.clock.reading();
        let round_trip = reading.steady - before.steady;
        let finding = match answer {
            Ok(None) => self.state().compare_with_past(reading),
            Ok(Some(shown)) if round_trip <= ROUND_TRIP_MAX => {
                let steady = before.steady + round_trip / 2;
                self.state().compare(reading, self.clock.beside(shown, steady), steady);
                Finding::Nothing
            }
            Ok(Some(_)) | Err(_) => {
                self.state().update_agreement(reading);
                Finding::Nothing
            }
        };
        self.log_distance(reading);
        if let Finding::WasSet(by) = finding {
            tracing::warn!("the clock of this machine was set by {} s", by / 1_000);
        }
        answer.map(|_| finding)
    }

    async fn believe(&self, by: i64) -> Result<(), StoreError> {
        let seconds = by / 1_000;
        tracing::warn!("the clock was set by {seconds} s and has run evenly since: it is believed");
        let now = self.clock.now();
        if self.state().seen_at.is_some_and(|seen_at| seen_at > now) {
            self.store.perform(CorrectClock { now }).await?;
            self.state().seen_at = Some(now);
        }
        Ok(())
    }

    /// Records the date if the clock is proven, or if no date was ever recorded.
    async fn record(&self, reading: Reading) -> Result<(), StoreError> {
        let now = {
            let state = self.state();
            let due = state.recorded.is_none_or(|at| reading.steady - at >= RECORD_EVERY);
            let first = state.seen_at.is_none() && state.agrees(reading);
            if !due || !(first || state.is_proven(reading)) {
                return Ok(());
            }
            Timestamp(reading.shown.div_euclid(1_000))
        };
        let seen_at = self.store.perform(RecordClock { now }).await?;
        let mut state = self.state();
        (state.seen_at, state.recorded) = (Some(seen_at), Some(reading.steady));
        Ok(())
    }

    /// Logs the distance when it enters another class.
    fn log_distance(&self, reading: Reading) {
        let has_second = self.store.has_clock();
        let (ahead, before) = {
            let mut state = self.state();
            let ahead = state.ahead(reading);
            (ahead, std::mem::replace(&mut state.logged, Distance::of(ahead)))
        };
        let off = ClockOff { ahead, has_second };
        match Distance::of(ahead) {
            distance if distance == before => {}
            Distance::Near => tracing::info!("the clock of this machine agrees again"),
            Distance::WorthLogging => tracing::warn!("{off}"),
            Distance::Off => tracing::error!("not ready: {off}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const START: i64 = 20_000 * DAY;

    /// The reading of a clock that has run for `run` milliseconds since the start and was set by `set_by`.
    fn after(run: i64, set_by: i64) -> Reading {
        Reading { shown: START + run + set_by, steady: 1_000 + run }
    }

    fn state(seen_at: Option<i64>) -> State {
        let reference = seen_at.unwrap_or(START) - 1_000;
        State {
            reference,
            at_least: seen_at.is_some(),
            agreed_since: None,
            set_to: None,
            seen_at: seen_at.map(|at| Timestamp(at / 1_000)),
            recorded: None,
            logged: Distance::Near,
        }
    }

    /// Runs the clock from one moment to another, set by `set_by`. Returns whether it was believed.
    fn run(state: &mut State, from: i64, to: i64, set_by: i64) -> bool {
        let mut moments = (from..=to).step_by(2_000);
        moments
            .any(|run| matches!(state.compare_with_past(after(run, set_by)), Finding::Believed(_)))
    }

    #[test]
    fn a_clock_alone_is_off_when_it_was_set_and_agrees_when_it_is_set_back() {
        for days in [-40, 40] {
            let mut state = state(Some(START - 60_000));
            run(&mut state, 0, 60_000, 0);
            assert!(state.is_proven(after(60_000, 0)));
            assert!(!run(&mut state, 62_000, 82_000, days * DAY));
            assert!(!state.agrees(after(82_000, days * DAY)), "{days} days");
            assert!(!run(&mut state, 84_000, 90_000, 0));
            assert!(state.is_proven(after(90_000, 0)), "after {days} days");
        }
    }

    #[test]
    fn a_clock_that_was_set_for_good_is_believed_the_sooner_the_less_harm_it_does() {
        const HOUR: i64 = 3_600_000;
        for (set_by, believed_after) in [
            (-HOUR, 10_000),
            (12 * HOUR, 10_000),
            (13 * HOUR, 300_000),
            (40 * DAY, 300_000),
            // Earlier than the recorded date.
            (-2 * HOUR, HOUR),
        ] {
            let mut state = state(Some(START - 60_000));
            run(&mut state, 0, 60_000, 0);
            state.seen_at = Some(Timestamp((START + 60_000) / 1_000));
            let (first, last) = (62_000, 62_000 + believed_after);
            assert!(!run(&mut state, first, last - 2_000, set_by), "{set_by} ms: not yet");
            assert!(run(&mut state, last, last, set_by), "{set_by} ms");
            assert!(state.agrees(after(last, set_by)));
        }
    }

    #[test]
    fn a_clock_that_goes_back_and_forth_is_not_believed() {
        let mut state = state(Some(START - 60_000));
        run(&mut state, 0, 60_000, 0);
        for round in 1..400 {
            let from = round * 60_000;
            let set_by = if round % 2 == 0 { 40 * DAY } else { 50 * DAY };
            assert!(!run(&mut state, from, from + 58_000, set_by));
        }
    }

    #[test]
    fn a_start_long_after_the_recorded_date_deletes_nothing_for_an_hour() {
        let mut state = state(Some(START));
        assert!(!run(&mut state, 0, 3_600_000, 40 * DAY));
        assert!(state.agrees(after(3_600_000, 40 * DAY)), "the service may have been off for long");
        assert!(!state.is_proven(after(3_600_000, 40 * DAY)));
        run(&mut state, 3_602_000, PROVEN_AFTER, 40 * DAY);
        assert!(state.is_proven(after(PROVEN_AFTER, 40 * DAY)));
    }

    #[test]
    fn a_start_before_the_recorded_date_waits_until_the_clock_has_caught_up() {
        let mut state = state(Some(START));
        assert!(!run(&mut state, 0, 20_000, -40 * DAY));
        assert!(!state.agrees(after(20_000, -40 * DAY)));
        // The machine was off for half an hour.
        assert!(!run(&mut state, 22_000, 22_000, 1_800_000));
        assert!(state.is_proven(after(22_000, 1_800_000)));
    }

    #[test]
    fn a_word_is_said_from_five_seconds_on() {
        for (ahead, distance) in [
            (5_000, Distance::Near),
            (5_001, Distance::WorthLogging),
            (-30_000, Distance::WorthLogging),
            (-30_001, Distance::Off),
        ] {
            assert_eq!(Distance::of(ahead), distance, "{ahead} ms");
        }
    }

    #[test]
    fn what_the_database_shows_decides() {
        let mut state = state(Some(START - 60_000));
        for (ahead, agrees) in [(0, true), (30_000, true), (-30_001, false), (50_000, false)] {
            state.compare(after(0, ahead), START, 1_000);
            assert_eq!(state.agrees(after(0, ahead)), agrees, "{ahead}");
            assert_eq!(state.ahead(after(500, ahead)), ahead);
        }
    }
}
