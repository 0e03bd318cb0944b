//! The second factor of a user: authenticators that show one-time passwords (RFC 6238), and recovery codes. These are
//! pure rules; `crypto/one_time_password.rs` computes codes.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How many time steps a code may be older or newer than the present one (RFC 6238 §5.2).
pub const SKEW: i64 = 1;
/// How far off, in time steps, a clock of an authenticator is remembered to be (RFC 6238 §6).
pub const DRIFT_MAX: i64 = 10;
/// How many authenticators a user may have.
pub const AUTHENTICATORS_MAX: usize = 10;
/// How many recovery codes are made at a time.
pub const RECOVERY_CODES: usize = 10;
/// Longest name of an authenticator, in characters.
const NAME_LENGTH_MAX: usize = 64;

/// All second factors of a user, as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecondFactors {
    /// In the order in which they were added.
    pub authenticators: Vec<Authenticator>,
    /// Keyed digests of the recovery codes that were not used.
    pub recovery_codes: Vec<String>,
    /// When the recovery codes were made; `None` before the first authenticator is confirmed.
    pub recovery_codes_made_at: Option<Timestamp>,
}

/// A program or device that shows one-time passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authenticator {
    /// Random, and the user's own.
    pub id: String,
    /// What the user calls it.
    pub name: String,
    /// The secret with its parameters, sealed. It opens only as that of this user and this authenticator.
    pub sealed: String,
    /// When the secret was made.
    pub added_at: Timestamp,
    /// When a code proved that the user has the secret. It does not count before.
    pub confirmed_at: Option<Timestamp>,
    /// The time step of the last accepted code. It and those before are not accepted any more (RFC 6238 §5.2).
    pub last_step: Option<i64>,
    /// How many time steps the authenticator's clock was ahead of ours at that code.
    #[serde(default)]
    pub drift: i64,
    /// When that was.
    pub last_used_at: Option<Timestamp>,
}

/// What a one-time password proves, for the row of the user and for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedFactor<'a> {
    /// A code of the authenticator with this id, for a time step.
    Authenticator(&'a str, i64),
    /// A recovery code with this digest.
    RecoveryCode(&'a str),
}

impl SecondFactors {
    /// The authenticators that a code has proved.
    pub fn confirmed(&self) -> impl Iterator<Item = &Authenticator> {
        self.authenticators.iter().filter(|own| own.confirmed_at.is_some())
    }

    /// Whether the user has a second factor, and so must use it at each login.
    #[must_use]
    pub fn are_in_use(&self) -> bool {
        self.confirmed().next().is_some()
    }

    /// The authenticator with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Authenticator> {
        self.authenticators.iter().find(|own| own.id == id)
    }

    /// The same after a code was accepted, which is not accepted again. `now_step` is the present time step of its
    /// authenticator.
    #[must_use]
    pub fn after(&self, used: UsedFactor<'_>, now_step: i64, now: Timestamp) -> Self {
        let mut after = self.clone();
        match used {
            UsedFactor::Authenticator(id, step) => {
                for own in after.authenticators.iter_mut().filter(|own| own.id == id) {
                    own.last_step = Some(step);
                    own.drift = step.saturating_sub(now_step).clamp(-DRIFT_MAX, DRIFT_MAX);
                    own.last_used_at = Some(now);
                }
            }
            UsedFactor::RecoveryCode(digest) => after.recovery_codes.retain(|own| own != digest),
        }
        after
    }
}

impl Authenticator {
    /// The time steps whose codes are good now: those around the present one, and those around the one that the
    /// authenticator shows if its clock is as far off as it was. Used ones are among them, see [`Self::is_used`].
    pub fn steps(&self, now_step: i64) -> impl Iterator<Item = i64> {
        let around = |middle: i64| (-SKEW..=SKEW).map(move |skew| middle.saturating_add(skew));
        let drifted = now_step.saturating_add(self.drift);
        let is_new = move |step: &i64| step.abs_diff(now_step) > SKEW.unsigned_abs();
        around(now_step).chain(around(drifted).filter(is_new))
    }

    /// Whether a code of this time step may have been accepted before.
    #[must_use]
    pub fn is_used(&self, step: i64) -> bool {
        self.last_step.is_some_and(|last| step <= last)
    }
}

/// Checks the name of an authenticator, which is shown.
///
/// # Errors
/// A sentence: it is empty, too long, or has control characters.
pub fn check_name(name: &str) -> Result<(), crate::Invalid> {
    let fits = (1..=NAME_LENGTH_MAX).contains(&name.chars().count());
    if fits && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(crate::Invalid::new(format!(
        "the name of an authenticator has 1 to {NAME_LENGTH_MAX} characters, none of them a control character"
    )))
}

/// Values of `amr` of a session (RFC 8176 §2). A recovery code is a one-time password, too.
#[must_use]
pub fn amr(second_factor: bool) -> &'static [&'static str] {
    if second_factor { &["pwd", "otp", "mfa"] } else { &["pwd"] }
}

/// `acr` of a session (RFC 9068 §2.2.1). With a second factor it is the REFEDS Multi-Factor Authentication Profile, an
/// absolute URI as `OpenID` Connect Core §2 asks for. Without one there is none, since nothing general can be said of a
/// password.
#[must_use]
pub fn acr(second_factor: bool) -> Option<&'static str> {
    second_factor.then_some("https://refeds.org/profile/mfa")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticator(last_step: Option<i64>, drift: i64) -> Authenticator {
        Authenticator {
            id: "a".to_owned(),
            name: "phone".to_owned(),
            sealed: String::new(),
            added_at: Timestamp(1),
            confirmed_at: Some(Timestamp(2)),
            last_step,
            drift,
            last_used_at: None,
        }
    }

    #[test]
    fn codes_around_now_and_around_the_drifted_clock_are_good() {
        let steps = |drift| authenticator(None, drift).steps(100).collect::<Vec<_>>();
        assert_eq!(steps(0), [99, 100, 101]);
        assert_eq!(steps(1), [99, 100, 101, 102]);
        assert_eq!(steps(-5), [99, 100, 101, 94, 95, 96]);
    }

    #[test]
    fn a_step_and_those_before_are_used_up() {
        let factors =
            SecondFactors { authenticators: vec![authenticator(None, 0)], ..Default::default() };
        assert!(!factors.authenticators[0].is_used(99));
        let after = factors.after(UsedFactor::Authenticator("a", 101), 100, Timestamp(7));
        let own = &after.authenticators[0];
        assert_eq!(
            (own.last_step, own.drift, own.last_used_at),
            (Some(101), 1, Some(Timestamp(7)))
        );
        assert!(own.is_used(100) && own.is_used(101) && !own.is_used(102));
        let far = factors.after(UsedFactor::Authenticator("a", 900), 100, Timestamp(7));
        assert_eq!(far.authenticators[0].drift, DRIFT_MAX);
    }

    #[test]
    fn a_recovery_code_is_good_once() {
        let recovery_codes = vec!["x".to_owned(), "y".to_owned()];
        let factors = SecondFactors { recovery_codes, ..Default::default() };
        let after = factors.after(UsedFactor::RecoveryCode("x"), 0, Timestamp(7));
        assert_eq!(after.recovery_codes, ["y"]);
    }

    #[test]
    fn only_an_authenticator_that_a_code_has_proved_counts() {
        let waiting = Authenticator { confirmed_at: None, ..authenticator(None, 0) };
        let factors = SecondFactors { authenticators: vec![waiting], ..Default::default() };
        assert!(!factors.are_in_use());
    }
}
