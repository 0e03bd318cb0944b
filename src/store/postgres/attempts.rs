//! How often a use case is tried that conflicts with others, and what pauses are between the attempts.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// How often it is tried at most.
const ATTEMPTS_MAX: u32 = 8;
/// The longest pause after the first attempt. It doubles with each attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(4);
/// The longest pause of all.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The attempts of one use case.
pub(super) struct Attempts {
    begun: Instant,
    made: u32,
}

impl Attempts {
    /// Begins with the first one.
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), made: 1 }
    }

    /// How long to pause before one more attempt. `None` if enough were made, or if the first began longer than
    /// `patience` ago. Each pause is chosen by chance, so that those who met do not meet again.
    pub(super) fn pause(&mut self, patience: Duration) -> Option<Duration> {
        if self.made >= ATTEMPTS_MAX || self.begun.elapsed() >= patience {
            return None;
        }
        let longest = (PAUSE_FIRST * 2_u32.pow(self.made - 1)).min(PAUSE_MAX);
        self.made += 1;
        Some(longest.mul_f64(chance()))
    }
}

/// A number from 0 to 1, by chance. Nothing is kept secret by it: each `RandomState` has keys of its own.
fn chance() -> f64 {
    let drawn = RandomState::new().build_hasher().finish() >> 32;
    u32::try_from(drawn).map_or(1.0, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_differ_and_end() {
        let pauses = || {
            let mut attempts = Attempts::begin();
            std::iter::from_fn(move || attempts.pause(Duration::MAX)).collect::<Vec<_>>()
        };
        let (one, other) = (pauses(), pauses());
        assert_eq!(one.len(), 7, "{one:?}");
        assert_ne!(one, other);
        for (index, pause) in one.iter().enumerate() {
            assert!(
                *pause <= PAUSE_FIRST * 2_u32.pow(u32::try_from(index).expect("few")),
                "{one:?}"
            );
        }
        let longest = one.iter().chain(&other).max();
        assert!(longest.is_some_and(|pause| *pause > PAUSE_FIRST / 4 && *pause <= PAUSE_MAX));
    }

    #[test]
    fn nobody_is_tried_for_who_has_stopped_waiting() {
        assert_eq!(Attempts::begin().pause(Duration::ZERO), None);
    }
}
