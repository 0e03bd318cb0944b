//! The wall clock, held against a second one before anything is decided by it.
//!
//! On PostgreSQL the second clock is the database server's: every replica asks it every few seconds, and
//! between two answers goes by the steady clock of its machine. On SQLite there is no other clock, so the second one is the
//! past of the first: what it showed, and how long the machine has run since; at the start, the latest date
//! that was recorded in the database.
//!
//! A clock that is off by more than `OFFSET_MAX` decides nothing: it would end sessions that live, and
//! keep alive what has ended.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Refusal;
use jeton_oauth::{Seconds, Timestamp};
use jeton_runtime::clock::{Clock, Reading};
use jeton_store::clock::{CorrectClock, ReadClock, RecordClock};
use jeton_store::{Store, StoreError};

/// How far the clock may be from the second one, in milliseconds: what the life cycle of keys takes
/// (`crypto/key_lifecycle`).
const OFFSET_MAX: i64 = 30_000;
/// From which distance on it is said.
const OFFSET_WORTH_A_WORD: i64 = 5_000;
/// The longest way to the database and back by which its clock is judged. A longer one tells too little.
const ROUND_TRIP_MAX: i64 = 2_000;
/// How long a clock that was set, and has no other beside it, must run evenly before it is believed.
const BELIEVED_AFTER: i64 = 5 * 60_000;
/// The same if it was set by so little that being wrong would do little harm: after a machine was suspended, or
/// corrected by NTP.
const BELIEVED_SOON_AFTER: i64 = 10_000;
/// How far back and forward that is.
const LITTLE: std::ops::RangeInclusive<i64> = -3_600_000..=12 * 3_600_000;
/// The same if it shows an earlier date than one that is recorded, so that either was wrong.
const BELIEVED_AGAINST_RECORD_AFTER: i64 = 60 * 60_000;
/// How far a clock that runs evenly may drift meanwhile.
const DRIFT_MAX: i64 = 2_000;
/// How long a clock must have agreed before anything is deleted by it, or a key made: longer than the hour for
/// which one may be wrong unnoticed.
const PROVEN_AFTER: i64 = 70 * 60_000;
/// A clock that shows a date so little after the recorded one is the clock that recorded it.
const PROVEN_WITHIN: Seconds = Seconds::new(12 * 3_600);
/// How long a row stays after it could have been deleted. Longer than [`PROVEN_WITHIN`], so that no clock that is
/// taken for proven deletes what is alive.
const GRACE: Seconds = Seconds::new(24 * 3_600);
/// How often a date is recorded.
const RECORD_EVERY: i64 = 60_000;
/// When to ask again while the clock is off.
const RETRY_AFTER: Seconds = Seconds::new(5);

/// A clock that is held against a second one.
#[derive(Debug)]
pub struct AgreedClock {
    clock: Clock,
    store: Store,
    state: Mutex<State>,
}

/// What is known of the clock.
#[derive(Clone, Copy, Debug)]
struct State {
    /// What the wall clock shows if it is right, less the steady clock at the same moment.
    reference: i64,
    /// Whether the reference is only the earliest that can be right, as a recorded date is.
    at_least: bool,
    /// Since when the clock has agreed, by the steady clock.
    agreed_since: Option<i64>,
    /// What the clock showed when it was found to be off, less the steady clock, and since when.
    set_to: Option<(i64, i64)>,
    /// The latest date that a replica recorded.
    seen_at: Option<Timestamp>,
    /// When this replica last recorded one, by the steady clock.
    recorded: Option<i64>,
    /// What was last said of the distance.
    said: Distance,
}

/// How far the clock is from the second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distance {
    Near,
    WorthAWord,
    Off,
}

impl Distance {
    fn of(ahead: i64) -> Self {
        match ahead.abs() {
            0..=OFFSET_WORTH_A_WORD => Self::Near,
            ..=OFFSET_MAX => Self::WorthAWord,
            _ => Self::Off,
        }
    }
}

/// The clock is away from the second one. As an error: by more than half a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOff {
    /// By how much it is ahead, in milliseconds; negative if it is behind.
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

/// What was found when the clock was measured: for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    /// It was set by so many milliseconds, which is little.
    WasSet(i64),
    /// It was set by so many milliseconds, and has run evenly since.
    Believed(i64),
}

impl State {
    /// By how much the clock is ahead of the reference, in milliseconds.
    fn ahead(&self, reading: Reading) -> i64 {
        let ahead = reading.shown.saturating_sub(reading.steady).saturating_sub(self.reference);
        if self.at_least { ahead.min(0) } else { ahead }
    }

    fn agrees(&self, reading: Reading) -> bool {
        self.ahead(reading).abs() <= OFFSET_MAX
    }

    /// Whether the clock has agreed so long, or shows a date so near to the recorded one, that what is
    /// done by it may be for good.
    fn is_proven(&self, reading: Reading) -> bool {
        let now = Timestamp(reading.shown.div_euclid(1_000));
        let for_long = self.agreed_since.is_some_and(|at| reading.steady - at >= PROVEN_AFTER);
        let goes_on = self.seen_at.is_some_and(|seen_at| {
            now.since(seen_at) <= PROVEN_WITHIN && seen_at.since(now).get() * 1_000 <= OFFSET_MAX
        });
        self.agrees(reading) && (for_long || goes_on)
    }

    /// Takes what the database's clock showed at this moment for right.
    fn compare(&mut self, reading: Reading, database: i64, steady: i64) {
        (self.reference, self.at_least) = (database - steady, false);
        self.note(reading);
    }

    /// Goes on by its own past. A clock that was set is believed when it has run evenly for long enough.
    fn go_on(&mut self, reading: Reading) -> Finding {
        let (own, ahead) = (reading.shown - reading.steady, self.ahead(reading));
        if self.agrees(reading) {
            // What NTP corrects by and by is not added up.
            (self.reference, self.at_least, self.set_to) = (own, false, None);
            self.note(reading);
            let near = Distance::of(ahead) == Distance::Near;
            return if near { Finding::Nothing } else { Finding::WasSet(ahead) };
        }
        self.note(reading);
        let (shown, since) = match self.set_to {
            Some((shown, since)) if (own - shown).abs() <= DRIFT_MAX => (shown, since),
            _ => (own, reading.steady),
        };
        self.set_to = Some((shown, since));
        let against_record =
            self.seen_at.is_some_and(|at| reading.shown < at.0 * 1_000 - OFFSET_MAX);
        let patience = match ahead {
            _ if LITTLE.contains(&ahead) => BELIEVED_SOON_AFTER,
            _ if against_record => BELIEVED_AGAINST_RECORD_AFTER,
            _ => BELIEVED_AFTER,
        };
        if reading.steady - since < patience {
            return Finding::Nothing;
        }
        (self.reference, self.at_least, self.set_to) = (own, false, None);
        self.note(reading);
        Finding::Believed(ahead)
    }

    fn note(&mut self, reading: Reading) {
        self.agreed_since = match self.agreed_since {
            _ if !self.agrees(reading) => None,
            None => Some(reading.steady),
            since => since,
        };
    }
}

impl AgreedClock {
    /// Holds the clock against the second one for the first time, and records nothing. A replica whose clock is
    /// off starts all the same: it answers with the documents that verifiers need, and goes on when the clock is
    /// right.
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
            said: Distance::Near,
        };
        let agreed = Self { clock, store, state: Mutex::new(state) };
        agreed.compare().await?;
        Ok(agreed)
    }

    /// The same, for a replica: it records the date from now on.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer.
    pub async fn start(clock: Clock, store: Store) -> Result<Self, StoreError> {
        let agreed = Self::open(clock, store).await?;
        agreed.record(agreed.clock.reading()).await?;
        Ok(agreed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What time it is.
    ///
    /// # Errors
    /// [`ClockOff`] if the clock is off, so that nothing may be decided by it.
    pub fn now(&self) -> Result<Timestamp, ClockOff> {
        let reading = self.clock.reading();
        let (ahead, has_second) = (self.state().ahead(reading), self.store.has_clock());
        if ahead.abs() > OFFSET_MAX {
            return Err(ClockOff { ahead, has_second });
        }
        Ok(self.clock.now())
    }

    /// What time it is as far as that is known: by the second clock while this one is off. For what goes on
    /// meanwhile, such as which keys are published.
    #[must_use]
    pub fn presumed_now(&self) -> Timestamp {
        let reading = self.clock.reading();
        let ahead = self.state().ahead(reading);
        if ahead.abs() <= OFFSET_MAX {
            return self.clock.now();
        }
        Timestamp(reading.shown.saturating_sub(ahead).div_euclid(1_000))
    }

    /// How long the clock has run, whatever it was set to meanwhile; since when does not matter.
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

    /// The date up to which rows that have expired may be deleted: a day before now, and nothing before the clock is
    /// proven.
    #[must_use]
    pub fn deletable_before(&self) -> Option<Timestamp> {
        let reading = self.clock.reading();
        let proven = self.state().is_proven(reading);
        proven.then(|| Timestamp(self.clock.now().0.saturating_sub(GRACE.get())))
    }

    /// The date up to which what has expired may be deleted by whoever cannot wait until the clock is proven.
    #[must_use]
    pub fn recorded_deletable_before(&self) -> Option<Timestamp> {
        let (seen_at, now) = (self.state().seen_at, self.clock.now());
        seen_at.map(|at| Timestamp(at.min(now).0.saturating_sub(GRACE.get())))
    }

    /// Whether a key may be made although there is one that does its work: only by a clock that is proven.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let reading = self.clock.reading();
        self.state().is_proven(reading)
    }

    /// Holds the clock against the second one, and records a date now and then.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer; the clock is judged by what is known then.
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
            Ok(None) => self.state().go_on(reading),
            Ok(Some(shown)) if round_trip <= ROUND_TRIP_MAX => {
                let steady = before.steady + round_trip / 2;
                self.state().compare(reading, self.clock.beside(shown, steady), steady);
                Finding::Nothing
            }
            Ok(Some(_)) | Err(_) => {
                self.state().note(reading);
                Finding::Nothing
            }
        };
        self.say(reading);
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

    /// Records the date, if the clock is proven, or nobody ever did.
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

    /// Says it when the distance becomes, or ceases to be, worth a word.
    fn say(&self, reading: Reading) {
        let has_second = self.store.has_clock();
        let (ahead, before) = {
            let mut state = self.state();
            let ahead = state.ahead(reading);
            (ahead, std::mem::replace(&mut state.said, Distance::of(ahead)))
        };
        let off = ClockOff { ahead, has_second };
        match Distance::of(ahead) {
            distance if distance == before => {}
            Distance::Near => tracing::info!("the clock of this machine agrees again"),
            Distance::WorthAWord => tracing::warn!("{off}"),
            Distance::Off => tracing::error!("not ready: {off}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const START: i64 = 20_000 * DAY;

    /// A machine that has run for so long since the start, whose clock was set by so much.
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
            said: Distance::Near,
        }
    }

    /// Lets the clock run from one moment to another, set by so much; whether it was believed.
    fn run(state: &mut State, from: i64, to: i64, set_by: i64) -> bool {
        let mut moments = (from..=to).step_by(2_000);
        moments.any(|run| matches!(state.go_on(after(run, set_by)), Finding::Believed(_)))
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
            // Earlier than what was recorded.
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
        // The machine was off for half an hour before.
        assert!(!run(&mut state, 22_000, 22_000, 1_800_000));
        assert!(state.is_proven(after(22_000, 1_800_000)));
    }

    #[test]
    fn a_word_is_said_from_five_seconds_on() {
        for (ahead, distance) in [
            (5_000, Distance::Near),
            (5_001, Distance::WorthAWord),
            (-30_000, Distance::WorthAWord),
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
