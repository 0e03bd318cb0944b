//! Repeats of a wrong password.
//!
//! Some client libraries, such as Go's `x/oauth2`, do not know where a service expects the client secret. They send
//! each request twice until one succeeds: with `Authorization`, then with the secret in the form. So one mistyped
//! password fails twice. One such repeat is not counted. This does not help to guess, because the repeated password is
//! known to be wrong.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jeton_crypto::throttle_key::GuessKey;
use jeton_oauth::throttle::CounterName;
use jeton_oauth::{Seconds, Secret};
use jeton_runtime::clock::Clock;

/// How soon a repeat must follow.
const REPEATED_WITHIN: Seconds = Seconds::new(10);
/// How many failures are remembered. Repeats of further ones are counted.
const REMEMBERED_MAX: usize = 1_024;

/// A tried password, as a keyed digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess([u8; 16]);

/// The last wrong password of each account and origin, in memory only.
#[derive(Debug)]
pub(super) struct Repeats {
    key: GuessKey,
    clock: Clock,
    last: Mutex<HashMap<CounterName, Last>>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    guess: Guess,
    failed_at: Seconds,
}

impl Repeats {
    /// Uses a random key, which only this process has.
    pub(super) fn new(clock: Clock) -> Self {
        Self { key: GuessKey::random(), clock, last: Mutex::default() }
    }

    /// Identifies a password with its code, and the hash that it is compared with: the same guess for a new password is no
    /// repeat.
    pub(super) fn guess(
        &self,
        stored: Option<&Secret>,
        password: &Secret,
        code: Option<&Secret>,
    ) -> Guess {
        let parts = [stored, Some(password), code];
        Guess(self.key.digest(&parts.map(|part| part.map_or("", Secret::expose).as_bytes())))
    }

    /// Whether this wrong password repeats the last counted one. A repeat is forgotten, so a third try counts.
    pub(super) fn take(&self, at_origin: CounterName, guess: Guess) -> bool {
        let mut last = self.lock();
        let now = self.clock.elapsed();
        last.retain(|_, last| now.since(last.failed_at) < REPEATED_WITHIN);
        let is_repeat = last.get(&at_origin).is_some_and(|last| last.guess == guess);
        if is_repeat {
            last.remove(&at_origin);
        }
        is_repeat
    }

    /// Remembers a wrong password that was counted.
    pub(super) fn remember(&self, at_origin: CounterName, guess: Guess) {
        let mut last = self.lock();
        if last.len() < REMEMBERED_MAX || last.contains_key(&at_origin) {
            last.insert(at_origin, Last { guess, failed_at: self.clock.elapsed() });
        }
    }

    /// Forgets the failure at an origin, because a login succeeded there.
    pub(super) fn forget(&self, at_origin: CounterName) {
        self.lock().remove(&at_origin);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CounterName, Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_oauth::Timestamp;

    fn counter(number: usize) -> CounterName {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&number.to_be_bytes());
        CounterName(name)
    }

    /// Fails once. Returns whether it was not counted.
    fn fails(repeats: &Repeats, at_origin: CounterName, guess: Guess) -> bool {
        let is_free = repeats.take(at_origin, guess);
        if !is_free {
            repeats.remember(at_origin, guess);
        }
        is_free
    }

    #[test]
    fn one_repeat_within_ten_seconds_is_free() {
        let clock = Clock::settable(Timestamp(1_000_000));
        let repeats = Repeats::new(clock.clone());
        let of = |text: &str| repeats.guess(None, &Secret::new(text.to_owned()), None);
        let repeated = |text: &str| fails(&repeats, counter(1), of(text));
        // The third counts, and may be repeated again.
        assert_eq!([(); 4].map(|()| repeated("a")), [false, true, false, true]);
        // It is no repeat after another password, at another origin, or after a login.
        assert_eq!(["a", "b", "a"].map(repeated), [false; 3]);
        assert!(!fails(&repeats, counter(2), of("a")));
        repeats.forget(counter(1));
        assert!(!repeated("a"));
        clock.advance(9);
        assert!(repeated("a"));
        assert!(!repeated("a"));
        clock.advance(10);
        assert!(!repeated("a"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let clock = Clock::settable(Timestamp(1_000_000));
        let repeats = Repeats::new(clock.clone());
        let guess = repeats.guess(None, &Secret::new("a".to_owned()), None);
        for number in 0..2 * REMEMBERED_MAX {
            assert!(!fails(&repeats, counter(number), guess));
        }
        let remembered = || repeats.last.lock().expect("no panic").len();
        assert_eq!(remembered(), REMEMBERED_MAX);
        clock.advance(10);
        assert!(!fails(&repeats, counter(0), guess));
        assert_eq!(remembered(), 1, "the rest is forgotten");
    }

    #[test]
    fn a_guess_depends_on_the_hash_and_the_process() {
        let clock = Clock::settable(Timestamp(1_000_000));
        let (one, other) = (Repeats::new(clock.clone()), Repeats::new(clock));
        let secret = |text: &str| Secret::new(text.to_owned());
        let (hash, password) = (secret("hash"), secret("password"));
        let guess = one.guess(Some(&hash), &password, None);
        assert_eq!(guess, one.guess(Some(&hash), &password, None));
        assert_ne!(guess, one.guess(Some(&secret("another")), &password, None));
        assert_ne!(guess, one.guess(None, &password, None));
        assert_ne!(guess, other.guess(Some(&hash), &password, None));
    }
}
