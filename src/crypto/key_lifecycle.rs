//! The life of a signing key, derived from its dates and the clock and stored nowhere:
//!
//! ```text
//! created ── published ──> activates ── signs ──> successor activates ── verifies ──> gone
//! ```
//!
//! Everything here is pure, so that replicas which share the rows and a clock agree without
//! talking to each other.

use crate::clock::{Seconds, Timestamp};
use crate::config::ACCESS_TOKEN_LIFETIME_MAX;

/// How far the clocks of this service and its verifiers may be apart.
const CLOCK_SKEW: Seconds = Seconds::new(60);

/// The dates of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDates {
    /// From when on it is published.
    pub created_at: Timestamp,
    /// From when on it signs, until a later key does.
    pub activates_at: Timestamp,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
}

/// Where a key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// In the key set, so that verifiers know it before it signs.
    Published,
    /// Signs. At most one key does at a time.
    Signing,
    /// In the key set for the tokens it signed.
    Verifying,
    /// In the key set no longer.
    Gone,
}

/// Derives the state of every key, in the order given.
///
/// `jwks_max_age` is how long a verifier may go on with a key set that it fetched.
#[must_use]
pub fn states(keys: &[KeyDates], now: Timestamp, jwks_max_age: Seconds) -> Vec<KeyState> {
    let retention = ACCESS_TOKEN_LIFETIME_MAX.get() + CLOCK_SKEW.get() + jwks_max_age.get();
    let is_live = |key: &&KeyDates| key.revoked_at.is_none();
    let activations = || keys.iter().filter(is_live).map(|key| key.activates_at);
    // Before the first activation, which a clock that is behind can see, the first key signs.
    let signing = activations().filter(|at| *at <= now).max().or_else(|| activations().min());
    keys.iter()
        .map(|key| {
            let superseded_at = activations().filter(|at| *at > key.activates_at).min();
            match superseded_at {
                _ if key.revoked_at.is_some() => KeyState::Gone,
                _ if Some(key.activates_at) == signing => KeyState::Signing,
                _ if key.activates_at > now => KeyState::Published,
                Some(at) if at.after(Seconds::new(retention)) > now => KeyState::Verifying,
                _ => KeyState::Gone,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(created_at: i64, activates_at: i64) -> KeyDates {
        KeyDates {
            created_at: Timestamp(created_at),
            activates_at: Timestamp(activates_at),
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_is_published_then_signs_then_verifies_then_is_gone() {
        use KeyState::{Gone, Published, Signing, Verifying};
        let max_age = Seconds::new(600);
        let gone = 10_000 + 3_600 + 60 + 600;
        for (now, expected) in [
            (0, [Signing, Published]),
            (9_999, [Signing, Published]),
            (10_000, [Verifying, Signing]),
            (gone - 1, [Verifying, Signing]),
            (gone, [Gone, Signing]),
        ] {
            let keys = [key(0, 0), key(5_000, 10_000)];
            assert_eq!(states(&keys, Timestamp(now), max_age), expected, "at {now}");
        }
        let mut keys = [key(0, 0), key(5_000, 10_000)];
        keys[1].revoked_at = Some(Timestamp(11_000));
        assert_eq!(states(&keys, Timestamp(12_000), max_age), [Signing, Gone]);
        assert_eq!(states(&[key(0, 50)], Timestamp(10), max_age), [Signing]);
        assert_eq!(states(&[], Timestamp(10), max_age), []);
    }
}
