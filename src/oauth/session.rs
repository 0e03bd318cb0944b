//! The life of a session: when it ends, and what it means that a refresh token is presented
//! (RFC 6749 §6, RFC 9700 §4.14.2). Pure, so that every replica decides the same.

use crate::clock::{Seconds, Timestamp};

/// The step to which the date of a row's deletion is rounded up.
const DELETION_STEP: i64 = 3_600;

/// How long sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLifetimes {
    /// How long a session lives without being refreshed.
    pub idle: Seconds,
    /// How long it lives at all, however often it is refreshed.
    pub absolute: Seconds,
}

/// When a session began to wait for its next refresh, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionDates {
    /// When it was opened or last refreshed.
    pub refreshed_at: Timestamp,
    /// Its absolute end, which no refresh moves.
    pub ends_at: Timestamp,
    /// When it ends unless it is refreshed: never after `ends_at`.
    pub expires_at: Timestamp,
}

impl SessionDates {
    /// The dates of a session that is opened now.
    #[must_use]
    pub fn opened(now: Timestamp, lifetimes: SessionLifetimes) -> Self {
        let ends_at = now.after(lifetimes.absolute);
        Self { refreshed_at: now, ends_at, expires_at: ends_at }.refreshed(now, lifetimes.idle)
    }

    /// The dates after a refresh.
    #[must_use]
    pub fn refreshed(self, now: Timestamp, idle: Seconds) -> Self {
        let expires_at = now.after(idle).min(self.ends_at);
        Self { refreshed_at: now, expires_at, ..self }
    }

    /// Whether the session has not ended by itself.
    #[must_use]
    pub fn are_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// From when on the row may be deleted. In steps of an hour, so that most refreshes leave the
    /// index on it alone.
    #[must_use]
    pub fn deletable_at(&self) -> Timestamp {
        let steps = self.expires_at.0.div_euclid(DELETION_STEP).saturating_add(1);
        Timestamp(steps.saturating_mul(DELETION_STEP))
    }
}

/// What it means that a refresh token of some generation is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// It is the one token that is good: the session is refreshed.
    Current,
    /// It is the one before, presented again so soon that its answer may have been lost, or that two
    /// tabs refreshed at once: the answer is the same successor.
    Retry,
    /// It was issued, and the database does not know it yet: it was restored or failed over to a
    /// copy that had not got the last refresh. The session catches up.
    Ahead,
    /// It was exchanged before: somebody has a copy of it.
    Reused,
}

impl Presented {
    /// Judges a genuine token by the generation of its session's row.
    #[must_use]
    pub fn judge(
        presented: i64,
        stored: i64,
        refreshed_at: Timestamp,
        now: Timestamp,
        retry_window: Seconds,
    ) -> Self {
        if presented == stored {
            Self::Current
        } else if presented > stored {
            Self::Ahead
        } else if presented == stored - 1 && now.since(refreshed_at) < retry_window {
            Self::Retry
        } else {
            Self::Reused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_idle_or_old() {
        let lifetimes = SessionLifetimes { idle: Seconds::new(100), absolute: Seconds::new(250) };
        let opened = SessionDates::opened(Timestamp(1_000), lifetimes);
        assert_eq!((opened.expires_at, opened.ends_at), (Timestamp(1_100), Timestamp(1_250)));
        assert!(opened.are_live(Timestamp(1_099)) && !opened.are_live(Timestamp(1_100)));
        let refreshed = opened.refreshed(Timestamp(1_200), lifetimes.idle);
        assert_eq!((refreshed.expires_at, refreshed.ends_at), (opened.ends_at, opened.ends_at));
        assert_eq!(refreshed.deletable_at(), Timestamp(3_600));
    }

    #[test]
    fn the_generation_before_the_current_one_is_a_retry_for_a_while() {
        use Presented::{Ahead, Current, Retry, Reused};
        for (presented, elapsed, expected) in [
            (5, 0, Current),
            (5, 1_000_000, Current),
            (4, 29, Retry),
            (4, -10, Retry),
            (4, 30, Reused),
            (3, 0, Reused),
            (6, 0, Ahead),
            (900, 0, Ahead),
        ] {
            let now = Timestamp(50_000 + elapsed);
            let judged = Presented::judge(presented, 5, Timestamp(50_000), now, Seconds::new(30));
            assert_eq!(judged, expected, "generation {presented} after {elapsed} s");
        }
        let now = Timestamp(50_000);
        assert_eq!(Presented::judge(4, 5, now, now, Seconds::new(0)), Reused, "no window");
    }
}
