//! How many attempts may fail, and how long the next must wait (RFC 6749 §4.3.2, §10.10; NIST SP 800-63B-4 §3.2.2).
//! These are pure rules; `service/throttle/` counts.
//!
//! A counter forgets one failure every [`FORGET`]. So its main value is a timestamp: when it will have forgotten all.

use crate::{Seconds, Timestamp};

/// How long it takes to forget one failure.
pub const FORGET: Seconds = Seconds::new(15 * 60);
/// The longest wait.
pub const WAIT_MAX: Seconds = Seconds::new(15 * 60);
/// How many failures in a row an account may have. From then on only known origins are served, until the password is
/// changed (NIST SP 800-63B-4 §3.2.2).
pub const FAILURES_MAX: i64 = 100;
/// How long after a login an account knows its origin.
pub const KNOWN_FOR: Seconds = Seconds::new(90 * 86_400);
/// The wait between attempts where unrelated users share a counter.
const PACE: Seconds = Seconds::new(2);
/// How long failures in a row are remembered after the last one.
const REMEMBERED: Seconds = Seconds::new(30 * 86_400);
/// The same for a locked account.
const LOCKED_FOR: Seconds = Seconds::new(365 * 86_400);

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Failed logins of an account from all origins that it does not know.
    Account,
    /// Failed logins of an account from one origin.
    AccountAtOrigin,
    /// Accounts that failed to log in from one origin that they do not know.
    Origin,
    /// The same for all networks of one site together (an IPv6 /48), each of which is an origin.
    Neighbours,
    /// Failed logins through a client that tells no end user's address, of accounts that never logged in through it.
    UnknownCallers,
    /// Wrong one-time passwords of an account in a row, from origins other than known ones whose address is trusted.
    Codes,
    /// Wrong one-time passwords of an account from one origin.
    CodesAtOrigin,
    /// Wrong client secrets from one address.
    ClientSecrets,
    /// Revocations of tokens that this service never made, from one address.
    Revocations,
}

impl Counted {
    /// A word that tells the counters apart.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::AccountAtOrigin => "account_at_origin",
            Self::Origin => "origin",
            Self::Neighbours => "neighbours",
            Self::UnknownCallers => "strangers",
            Self::Codes => "codes",
            Self::CodesAtOrigin => "codes_at_origin",
            Self::ClientSecrets => "client_secrets",
            Self::Revocations => "revocations",
        }
    }

    /// How many failures cause no wait.
    #[must_use]
    pub fn free(self) -> i64 {
        match self {
            Self::Account | Self::AccountAtOrigin | Self::Codes | Self::CodesAtOrigin => 5,
            Self::ClientSecrets => 10,
            Self::Origin | Self::UnknownCallers | Self::Revocations => 30,
            // Twice as many as for one origin, so that one network alone does not delay the others.
            Self::Neighbours => 60,
        }
    }

    /// Whether the wait is always the same. It is where unrelated users share the counter, to delay them no longer.
    fn is_paced(self) -> bool {
        matches!(self, Self::Neighbours | Self::UnknownCallers)
    }

    /// The wait after this many failures. It is 1 s at first and doubles, unless it is always the same.
    fn wait_after(self, strikes: i64) -> Seconds {
        if self.is_paced() {
            return if strikes < self.free() { Seconds::default() } else { PACE };
        }
        let beyond = strikes - self.free();
        let doubled = |exponent| Seconds::new(1_i64.checked_shl(exponent).unwrap_or(i64::MAX));
        // 1 s doubled ten times is longer than the longest wait.
        u32::try_from(beyond.min(10)).map_or(Seconds::default(), doubled).min(WAIT_MAX)
    }

    /// How long a counter is kept after a failure; `failures` is their number in a row.
    #[must_use]
    pub fn kept_for(self, failures: i64) -> Seconds {
        match self {
            Self::Account | Self::Codes if failures >= FAILURES_MAX => LOCKED_FOR,
            Self::Account | Self::Codes => REMEMBERED,
            // By then all failures are forgotten.
            Self::AccountAtOrigin
            | Self::CodesAtOrigin
            | Self::Origin
            | Self::Neighbours
            | Self::UnknownCallers
            | Self::ClientSecrets
            | Self::Revocations => Seconds::new(86_400),
        }
    }
}

/// The name of a counter: 128 bits of a keyed hash. Readers of the database do not learn what was typed as a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterName(pub [u8; 16]);

/// A failure counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCounter {
    /// Failures since the last success.
    pub failures: i64,
    /// When the last failure was.
    pub failed_at: Timestamp,
    /// When all failures will be forgotten.
    pub forgotten_at: Timestamp,
    /// The last successful login, if this counts an account at an origin.
    pub succeeded_at: Option<Timestamp>,
}

/// What a counter says about one more attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This many more attempts may fail before there is a wait.
    Free(i64),
    /// A wait is over: one attempt is allowed. It is counted as a failure before it is made.
    Once,
    /// No attempt is allowed before this time.
    Wait(Timestamp),
}

impl FailureCounter {
    /// The counter without what happened before the password was changed.
    #[must_use]
    pub fn since(self, password_changed_at: Timestamp) -> Self {
        let succeeded_at = self.succeeded_at.filter(|at| *at >= password_changed_at);
        if self.failed_at < password_changed_at {
            return Self { succeeded_at, ..Self::default() };
        }
        Self { succeeded_at, ..self }
    }

    /// How many failures are not forgotten at this time.
    #[must_use]
    pub fn strikes(&self, at: Timestamp) -> i64 {
        let left = self.forgotten_at.since(at).get();
        (left + FORGET.get() - 1) / FORGET.get()
    }

    /// What the counter says about an attempt now.
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

    /// Whether one-time passwords are refused at an origin: none is free. One is a quarter of an hour after the failure
    /// that was forgotten, so five may be wrong at once and four an hour after that.
    #[must_use]
    pub fn has_no_code_free(&self, now: Timestamp) -> bool {
        self.strikes(now) >= Counted::CodesAtOrigin.free()
    }

    /// Whether all failures are forgotten.
    #[must_use]
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        self.strikes(now) == 0
    }

    /// Whether too many attempts in a row failed (NIST SP 800-63B-4 §3.2.2).
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// Whether the account knows this origin: it logged in from here within [`KNOWN_FOR`], and is not locked here.
    #[must_use]
    pub fn is_known(&self, now: Timestamp) -> bool {
        let lately = |at: Timestamp| now.since(at) < KNOWN_FOR;
        self.succeeded_at.is_some_and(lately) && !self.is_locked()
    }

    /// The counter after one more failure. Where the wait is always the same, it remembers no more failures than are
    /// free, so that an attack is soon forgotten.
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
        // Whoever guesses as often as allowed gets four guesses an hour.
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
    fn a_shared_counter_has_a_constant_wait_and_soon_forgets_an_attack() {
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
    fn failures_before_a_change_of_password_do_not_count() {
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
