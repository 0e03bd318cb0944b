//! The life of a signing key. It follows from the key's dates and the clock, and is not stored:
//!
//! ```text
//! created ── published ──> activates ── signs ──> successor activates ── verifies ──> gone
//! ```
//!
//! The rules are pure, so replicas that share rows and clock agree without talking. The slack in [`Schedule::lead`] and
//! [`Schedule::retention`] lets their clocks differ by half a minute, jump forward by half the time for which verifiers
//! may cache the key set, and jump back by any amount. `tests/it/key_simulation.rs` tests that over ten years.

use std::fmt;

use jeton_oauth::lifetime::ACCESS_TOKEN_LIFETIME_MAX;
use jeton_oauth::{Seconds, Timestamp};

/// How far the clocks of this service and its verifiers may differ, plus the time until each replica reads a new row.
const CLOCK_SKEW: Seconds = Seconds::new(60);

/// When keys follow each other, and how long verifiers may cache the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long a key signs.
    pub rotation: Seconds,
    /// How long a verifier may use a key set that it fetched here.
    pub jwks_max_age: Seconds,
    /// How long a key is published before it signs.
    pub lead: Seconds,
    /// How long a verifier may use a key set that it fetched from any replica.
    pub cached_for: Seconds,
}

impl Schedule {
    /// The schedule that breaks no verifier. A verifier that asks again only when its cache has expired knows each key
    /// when it begins to sign, whichever replica it asked.
    #[must_use]
    pub fn new(rotation: Seconds, jwks_max_age: Seconds) -> Self {
        let lead = lead(jwks_max_age);
        Self { rotation, jwks_max_age, lead, cached_for: jwks_max_age }
    }

    /// The same schedule if verifiers may use another replica's key set for `longest`. Keys are published earlier and
    /// stay published longer for them.
    #[must_use]
    pub fn among(self, longest: Seconds) -> Self {
        let cached_for = self.jwks_max_age.max(longest);
        Self { lead: lead(cached_for), cached_for, ..self }
    }

    /// How long a key set may be cached if the replica read the keys `age` ago. A key that it has not read was made
    /// later, and signs no earlier than its lead after that. Until then the key set is good. Replicas with a longer
    /// lead do not count, because they may be gone when the key is made.
    #[must_use]
    pub fn vouched(&self, age: Seconds) -> Seconds {
        let slack = CLOCK_SKEW.get() + self.jwks_max_age.get() / 2;
        let lead = self.lead.min(lead(self.jwks_max_age));
        Seconds::new(lead.get() - slack - age.get()).min(self.jwks_max_age)
    }

    /// How long a key is published after its successor began to sign: until its last possible token has expired.
    #[must_use]
    pub fn retention(&self) -> Seconds {
        let last_token = ACCESS_TOKEN_LIFETIME_MAX.get() + CLOCK_SKEW.get();
        Seconds::new(last_token + self.cached_for.get())
    }

    /// The latest plausible activation. A key that activates later was made by a wrong clock, and nobody waits for it.
    #[must_use]
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        now.after(self.rotation.max(self.lead))
    }

    /// Checks that a key can be announced and retired before the next one. So at most three keys are published.
    ///
    /// # Errors
    /// [`RotationTooShort`], which names the settings and shows the arithmetic.
    pub fn check(&self) -> Result<(), RotationTooShort> {
        if self.rotation >= self.rotation_min() {
            return Ok(());
        }
        Err(RotationTooShort(*self))
    }

    fn rotation_min(&self) -> Seconds {
        Seconds::new(self.lead.get() + self.retention().get())
    }
}

/// The rotation is shorter than lead and retention together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationTooShort(Schedule);

impl std::error::Error for RotationTooShort {}

impl fmt::Display for RotationTooShort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(schedule) = self;
        let (lead, retention) = (schedule.lead, schedule.retention());
        write!(
            formatter,
            "--key-rotation {} is too short: a key is published {lead} before it signs (2 x \
             --jwks-max-age {} + {CLOCK_SKEW}) and {retention} after its successor does (the longest \
             life of an access token {ACCESS_TOKEN_LIFETIME_MAX} + {CLOCK_SKEW} + --jwks-max-age); make \
             it at least {}, or shorten --jwks-max-age",
            schedule.rotation,
            schedule.jwks_max_age,
            schedule.rotation_min(),
        )
    }
}

/// How long a key must be published before it signs, if key sets may be cached for this long.
fn lead(cached_for: Seconds) -> Seconds {
    Seconds::new(2 * cached_for.get() + CLOCK_SKEW.get())
}

/// The dates of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDates {
    /// From when it is published.
    pub created_at: Timestamp,
    /// From when it signs, until a later key does.
    pub activates_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Where a key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyState {
    /// In the key set, so that verifiers know it before it signs.
    Published,
    /// Signs. At most one key does at a time.
    Signing,
    /// In the key set, for the tokens that it signed.
    Verifying,
    /// No longer in the key set.
    Gone,
}

impl KeyState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 4] = [Self::Published, Self::Signing, Self::Verifying, Self::Gone];

    /// A stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Verifying => "verifying",
            Self::Gone => "gone",
        }
    }
}

/// The state of a key, and what is known of its future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The current state.
    pub state: KeyState,
    /// When its successor begins to sign, if there is one.
    pub retires_at: Option<Timestamp>,
    /// When it leaves the key set, if that is known.
    pub gone_at: Option<Timestamp>,
}

/// Derives the life of each key, in the given order. The signing key is always in the key set: no state lies between.
///
/// `signed_last` is the activation of the key with which this process signed last. If the clock jumps back, the process
/// does not return to an older key, which others may have forgotten.
#[must_use]
pub fn lives(
    keys: &[KeyDates],
    now: Timestamp,
    schedule: &Schedule,
    signed_last: Option<Timestamp>,
) -> Vec<Life> {
    let live = || keys.iter().filter(|key| key.revoked_at.is_none());
    let activations = || live().map(|key| key.activates_at);
    let reached = signed_last.map_or(now, |last| last.max(now));
    // A clock that is behind may be before the first activation. Then the first key signs.
    let signing = activations().filter(|at| *at <= reached).max().or_else(|| activations().min());
    keys.iter()
        .map(|key| {
            let retires_at = activations().filter(|at| *at > key.activates_at).min();
            let gone_at = match key.revoked_at {
                Some(at) => Some(at),
                None => retires_at.map(|at| at.after(schedule.retention())),
            };
            let state = match gone_at {
                _ if key.revoked_at.is_some() => KeyState::Gone,
                _ if Some(key.activates_at) == signing => KeyState::Signing,
                _ if signing.is_some_and(|at| key.activates_at > at) => KeyState::Published,
                Some(at) if at <= now => KeyState::Gone,
                _ => KeyState::Verifying,
            };
            Life { state, retires_at, gone_at }
        })
        .collect()
}

/// When the next key is to begin to sign; `None` if it need not be made yet.
///
/// A key of the distant future, which a wrong clock may have made, is not waited for.
#[must_use]
pub fn next_activation(
    keys: &[KeyDates],
    now: Timestamp,
    schedule: &Schedule,
) -> Option<Timestamp> {
    let horizon = schedule.horizon(now);
    let live = keys.iter().filter(|key| key.revoked_at.is_none());
    let newest = live.map(|key| key.activates_at).filter(|at| *at <= horizon).max();
    // No key signs. A key that verifiers have yet to fetch is better than none.
    let Some(newest) = newest else { return Some(now) };
    let planned = newest.after(schedule.rotation);
    let announced = now.after(schedule.lead);
    (planned <= announced).then_some(announced)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        rotation: Seconds::new(100_000),
        jwks_max_age: Seconds::new(600),
        lead: Seconds::new(1_260),
        cached_for: Seconds::new(600),
    };

    fn key(created_at: i64, activates_at: i64) -> KeyDates {
        KeyDates {
            created_at: Timestamp(created_at),
            activates_at: Timestamp(activates_at),
            revoked_at: None,
        }
    }

    fn states(keys: &[KeyDates], now: i64, signed_last: Option<i64>) -> Vec<KeyState> {
        let lives = lives(keys, Timestamp(now), &SCHEDULE, signed_last.map(Timestamp));
        lives.iter().map(|life| life.state).collect()
    }

    #[test]
    fn a_key_is_published_then_signs_then_verifies_then_is_gone() {
        use KeyState::{Gone, Published, Signing, Verifying};
        let gone = 10_000 + 3_600 + 60 + 600;
        for (now, expected) in [
            (0, [Signing, Published]),
            (9_999, [Signing, Published]),
            (10_000, [Verifying, Signing]),
            (gone - 1, [Verifying, Signing]),
            (gone, [Gone, Signing]),
        ] {
            let keys = [key(0, 0), key(5_000, 10_000)];
            assert_eq!(states(&keys, now, None), expected, "at {now}");
        }
        let mut keys = [key(0, 0), key(5_000, 10_000)];
        assert_eq!(
            states(&keys, 9_000, Some(10_000)),
            [Verifying, Signing],
            "a clock that went back"
        );
        keys[1].revoked_at = Some(Timestamp(11_000));
        assert_eq!(states(&keys, 12_000, Some(10_000)), [Signing, Gone]);
        assert_eq!(states(&[key(0, 50)], 10, None), [Signing]);
        assert_eq!(states(&[], 10, None), []);
    }

    #[test]
    fn a_key_waits_for_the_key_sets_of_every_replica() {
        let own = Schedule::new(Seconds::new(3_780), Seconds::new(1));
        let among = own.among(Seconds::new(3_600));
        assert_eq!((among.jwks_max_age, among.cached_for.get()), (own.jwks_max_age, 3_600));
        assert_eq!((among.lead.get(), among.retention().get()), (7_260, 3_600 + 60 + 3_600));
        assert_eq!(among.vouched(Seconds::default()), own.vouched(Seconds::default()));
        assert_eq!(own.among(Seconds::default()), own);

        // The lead is longer than the rotation. An announced key is waited for nevertheless.
        let made = |keys: &[KeyDates], now| next_activation(keys, Timestamp(now), &among);
        let next = made(&[key(0, 0)], 10).expect("it is due");
        assert_eq!(next.0, 10 + 7_260);
        assert_eq!(made(&[key(0, 0), key(10, next.0)], 10), None);
    }

    #[test]
    fn the_next_key_is_made_in_time_to_be_known_when_the_current_one_has_signed_long_enough() {
        let lead = SCHEDULE.lead.get();
        let next = |keys: &[KeyDates], now| {
            next_activation(keys, Timestamp(now), &SCHEDULE).map(|at| at.0)
        };
        let keys = [key(0, 0)];
        assert_eq!(next(&keys, 100_000 - lead - 1), None);
        assert_eq!(next(&keys, 100_000 - lead), Some(100_000));
        assert_eq!(next(&keys, 900_000), Some(900_000 + lead), "after a long sleep");
        let announced = [key(0, 0), key(100_000 - lead, 100_000)];
        assert_eq!(next(&announced, 100_000), None);
        let absurd = [key(0, 0), key(0, 90_000_000)];
        assert_eq!(next(&absurd, 100_000 - lead), Some(100_000));
        assert_eq!(next(&[], 7), Some(7));
    }

    #[test]
    fn a_key_set_is_vouched_for_until_a_key_may_sign_that_is_not_in_it() {
        for (age, vouched) in [(0, 600), (300, 600), (301, 599), (899, 1), (900, 0), (9_999, 0)] {
            assert_eq!(SCHEDULE.vouched(Seconds::new(age)), Seconds::new(vouched), "after {age} s");
        }
    }

    #[test]
    fn a_rotation_that_leaves_no_time_is_refused_with_the_arithmetic() {
        let duration = |text: &str| text.parse().expect("a duration");
        let schedule = |rotation, max_age| Schedule::new(duration(rotation), duration(max_age));
        assert_eq!(schedule("100000s", "10m"), SCHEDULE);
        assert_eq!(schedule("30d", "1h").check(), Ok(()));
        // 21 minutes before, and 71 minutes after.
        assert_eq!(schedule("92m", "10m").check(), Ok(()));
        let error = schedule("91m", "10m").check().expect_err("one minute too short").to_string();
        for part in ["91m", "21m", "10m", "71m", "92m", "--key-rotation", "--jwks-max-age"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
