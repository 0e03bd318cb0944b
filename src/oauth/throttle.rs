//! How often one may fail, and how long one must wait then (RFC 6749 §4.3.2, §10.10; NIST SP
//! 800-63B-4 §3.2.2). Pure rules over counters; who counts is `service/throttle/`.
//!
//! A counter forgets one failure every [`FORGET`]. So it is one moment: when all will be forgotten.

use crate::{Seconds, Timestamp};

/// How long it takes to forget one failure.
pub const FORGET: Seconds = Seconds::new(15 * 60);
/// The longest wait.
pub const WAIT_MAX: Seconds = Seconds::new(15 * 60);
/// How many failures in a row an account may have; from then on only known origins are served, until
/// the password is changed (NIST SP 800-63B-4 §3.2.2).
pub const FAILURES_MAX: i64 = 100;
/// How long an origin stays known to an account after a login.
pub const KNOWN_FOR: Seconds = Seconds::new(90 * 86_400);
/// The wait between attempts where many who may have nothing to do with each other are counted together.
const PACE: Seconds = Seconds::new(2);
/// How long failures in a row are remembered after the last of them.
const REMEMBERED: Seconds = Seconds::new(30 * 86_400);
/// How long they are once the account is locked.
const LOCKED_FOR: Seconds = Seconds::new(365 * 86_400);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Failed logins of an account, from whatever origin that it does not know.
    Account,
    /// Failed logins of an account from one origin.
    AccountAtOrigin,
    /// Accounts that failed to log in from one origin that they do not know.
    Origin,
    /// The same from the networks of one site, each of which is an origin: an IPv6 /48.
    Neighbours,
    /// Failed logins through a client that does not say from where, of accounts that never logged in through
    /// it.
    UnknownCallers,
    /// Wrong client secrets from one address.
    ClientSecrets,
    /// Revocations from one address of what this service never made.
    Revocations,
}

impl Counted {
    /// A word that keeps the counters apart.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::AccountAtOrigin => "account_at_origin",
            Self::Origin => "origin",
            Self::Neighbours => "neighbours",
            Self::UnknownCallers => "strangers",
            Self::ClientSecrets => "client_secrets",
            Self::Revocations => "revocations",
        }
    }

    /// How many failures cost no wait.
    #[must_use]
    pub fn free(self) -> i64 {
        match self {
            Self::Account | Self::AccountAtOrigin => 5,
            Self::ClientSecrets => 10,
            Self::Origin | Self::UnknownCallers | Self::Revocations => 30,
            // So one network by itself holds up no other.
            Self::Neighbours => 60,
        }
    }

    /// Whether waits do not grow. Who has nothing to do with an attack is held up by it no longer than that.
    fn is_paced(self) -> bool {
        matches!(self, Self::Neighbours | Self::UnknownCallers)
    }

    /// The wait after so many failures: from 1 s, doubling, or always the same.
    fn wait_after(self, strikes: i64) -> Seconds {
        if self.is_paced() {
            return if strikes < self.free() { Seconds::default() } else { PACE };
        }
        let beyond = strikes - self.free();
        let doubled = |exponent| Seconds::new(1_i64.checked_shl(exponent).unwrap_or(i64::MAX));
        // A shift of more than ten is beyond the longest wait.
        u32::try_from(beyond.min(10)).map_or(Seconds::default(), doubled).min(WAIT_MAX)
    }

    /// How long a counter is of use after a failure, of which there were so many in a row.
    #[must_use]
    pub fn kept_for(self, failures: i64) -> Seconds {
        match self {
            Self::Account if failures >= FAILURES_MAX => LOCKED_FOR,
            Self::Account => REMEMBERED,
            // By then all is forgotten.
            Self::AccountAtOrigin
            | Self::Origin
            | Self::Neighbours
            | Self::UnknownCallers
            | Self::ClientSecrets
            | Self::Revocations => Seconds::new(86_400),
        }
    }
}

/// The name of a counter: 128 bits of a keyed hash of what it counts, so that nobody who reads the
/// database learns what was typed into the field for the user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterName(pub [u8; 16]);

/// A counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCounter {
    /// Failures since the last success.
    pub failures: i64,
    /// When the last of them was.
    pub failed_at: Timestamp,
    /// When all of them will be forgotten.
    pub forgotten_at: Timestamp,
    /// The last login from here, of an account at an origin.
    pub succeeded_at: Option<Timestamp>,
}

/// What a counter says of one more attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So many more may fail before there is a wait.
    Free(i64),
    /// A wait is over: one attempt, which is counted as a failure before it is made.
    Once,
    /// Not before this moment.
    Wait(Timestamp),
}

impl FailureCounter {
    /// The counter as far as it says anything: what was before the password was changed is void.
    #[must_use]
    pub fn since(self, password_changed_at: Timestamp) -> Self {
        let succeeded_at = self.succeeded_at.filter(|at| *at >= password_changed_at);
        if self.failed_at < password_changed_at {
            return Self { succeeded_at, ..Self::default() };
        }
        Self { succeeded_at, ..self }
    }

    /// The failures that are not forgotten at a moment.
    #[must_use]
    pub fn strikes(&self, at: Timestamp) -> i64 {
        let left = self.forgotten_at.since(at).get();
        (left + FORGET.get() - 1) / FORGET.get()
    }

    /// What the counter says of an attempt at this moment.
    #[must_use]
    pub fn verdict(&self, counted: Counted, now: Timestamp) -> Verdict {
        let strikes = self.strikes(now);
        if strikes < counted.free() {
            return Verdict::Free(counted.free() - strikes);
        }
        let until = self.waits_until(counted);
        if now < until { Verdict::Wait(until) } else { Verdict::Once }
    }

    /// When the wait after the last failure ends.
    #[must_use]
    pub fn waits_until(&self, counted: Counted) -> Timestamp {
        self.failed_at.after(counted.wait_after(self.strikes(self.failed_at)))
    }

    /// Whether nothing that failed here is remembered.
    #[must_use]
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        self.strikes(now) == 0
    }

    /// Whether too many failed in a row (NIST SP 800-63B-4 §3.2.2).
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// Whether the account logged in from here lately.
    #[must_use]
    pub fn is_known(&self, now: Timestamp) -> bool {
        let lately = |at: Timestamp| now.since(at) < KNOWN_FOR;
        self.succeeded_at.is_some_and(lately) && !self.is_locked()
    }

    /// The counter after one more failure. Where waits do not grow it remembers no more than are free, so
    /// that an attack is forgotten as soon as it ends.
    #[must_use]
    pub fn and_failure(self, counted: Counted, now: Timestamp) -> Self {
        let forgotten_at = self.forgotten_at.max(now).after(FORGET);
        let most = now.after(Seconds::new(FORGET.get() * counted.free()));
        Self {
            failures: self.failures + 1,
            failed_at: now,
            forgotten_at: if counted.is_paced() { forgotten_at.min(most) } else { forgotten_at },
            succeeded_at: self.succeeded_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    fn after(failures: i64, at: Timestamp) -> FailureCounter {
        (0..failures)
            .fold(FailureCounter::default(), |counter, _| counter.and_failure(Counted::Account, at))
    }

    #[test]
    fn waits_double_from_a_second_to_a_quarter_of_an_hour() {
        for (failures, wait) in
            [(5, 1), (6, 2), (7, 4), (10, 32), (14, 512), (15, 900), (16, 900), (99, 900)]
        {
            let counter = after(failures, START);
            let until = START.after(Seconds::new(wait));
            assert_eq!(
                counter.verdict(Counted::Account, START),
                Verdict::Wait(until),
                "{failures}"
            );
            assert_eq!(counter.verdict(Counted::Account, until), Verdict::Once, "{failures}");
        }
        assert_eq!(after(4, START).verdict(Counted::Account, START), Verdict::Free(1));
        assert_eq!(after(29, START).verdict(Counted::Origin, START), Verdict::Free(1));
        let second = START.after(Seconds::new(1));
        assert_eq!(after(30, START).verdict(Counted::Origin, START), Verdict::Wait(second));
    }

    #[test]
    fn a_failure_is_forgotten_every_quarter_of_an_hour() {
        let counter = after(5, START);
        for (seconds, left) in [(0, 5), (1, 5), (900, 4), (901, 4), (1_800, 3), (4_500, 0)] {
            assert_eq!(counter.strikes(START.after(Seconds::new(seconds))), left, "{seconds}");
        }
        // Who guesses on as often as allowed gets four guesses an hour.
        let mut counter = after(5, START);
        let mut now = START;
        let mut guesses = 0;
        let hour = |hours: i64| START.after(Seconds::new(hours * 3_600));
        while now < hour(24) {
            match counter.verdict(Counted::Account, now) {
                Verdict::Wait(until) => now = until,
                Verdict::Once | Verdict::Free(_) => {
                    counter = counter.and_failure(Counted::Account, now);
                    guesses += i64::from(now >= hour(12));
                }
            }
        }
        assert_eq!(guesses, 48);
    }

    #[test]
    fn where_many_are_counted_together_the_pace_stays_and_an_attack_is_soon_forgotten() {
        for (counted, free) in [(Counted::UnknownCallers, 30), (Counted::Neighbours, 60)] {
            let (mut counter, mut now) = (FailureCounter::default(), START);
            let mut attempts = 0;
            while now < START.after(Seconds::new(3_600)) {
                match counter.verdict(counted, now) {
                    Verdict::Wait(until) => {
                        assert_eq!(until.since(now), PACE);
                        now = until;
                    }
                    Verdict::Once | Verdict::Free(_) => {
                        counter = counter.and_failure(counted, now);
                        attempts += 1;
                    }
                }
            }
            assert_eq!(attempts, free + 1_799, "{counted:?}");
            let later = now.after(FORGET);
            assert_eq!(counter.verdict(counted, later), Verdict::Free(1), "{counted:?}");
        }
    }

    #[test]
    fn what_was_before_the_password_was_changed_is_void() {
        let locked = FailureCounter { succeeded_at: Some(START), ..after(100, START) };
        assert!(locked.is_locked() && !locked.is_known(START));
        assert_eq!(locked.since(START), locked);
        assert_eq!(locked.since(START.after(Seconds::new(1))), FailureCounter::default());
    }

    #[test]
    fn an_origin_is_known_for_90_days() {
        let known = FailureCounter { succeeded_at: Some(START), ..FailureCounter::default() };
        assert!(known.is_known(START.after(Seconds::new(90 * 86_400 - 1))));
        assert!(!known.is_known(START.after(KNOWN_FOR)));
    }
}
