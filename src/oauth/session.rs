//! The life of a session: when it ends, and what it means that a refresh token is presented
//! (RFC 6749 §6, RFC 9700 §4.14.2). Pure, so that every replica decides the same.

use serde::Serialize;

use crate::{RetryWindow, Seconds, Timestamp};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SessionDates {
    /// When it was opened or last refreshed.
    pub refreshed_at: Timestamp,
    /// When it ends unless it is refreshed: never after `ends_at`.
    pub expires_at: Timestamp,
    /// Its absolute end, which no refresh moves.
    pub ends_at: Timestamp,
}

impl SessionDates {
    /// The dates of a session that is opened now.
    #[must_use]
    pub fn opened(now: Timestamp, lifetimes: SessionLifetimes) -> Self {
        let ends_at = now.after(lifetimes.absolute);
        Self { refreshed_at: now, ends_at, expires_at: ends_at }.refreshed(now, lifetimes.idle)
    }

    /// The dates after a refresh. A clock that is behind does not move them back.
    #[must_use]
    pub fn refreshed(self, now: Timestamp, idle: Seconds) -> Self {
        let refreshed_at = self.refreshed_at.max(now);
        let expires_at = refreshed_at.after(idle).min(self.ends_at);
        Self { refreshed_at, expires_at, ..self }
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

/// For how long a token whose successor was used too may be a late tab's: longer than such a tab takes, and
/// much shorter than the life of an access token (`docs/retry-window.md`).
pub const LATE_TAB_WINDOW: Seconds = Seconds::new(10);

/// What it means that a refresh token of some generation is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// It is the one token that is good: the session is refreshed.
    Current,
    /// It was exchanged, and its successor was never used: the answer may have been lost, or two tabs
    /// refreshed at once. The answer is the same successor.
    Retry,
    /// It was issued, and the database does not know it yet: it was restored or failed over to a
    /// copy that had not got the last refresh. The session catches up.
    Ahead,
    /// It was exchanged, and its successor was just exchanged too, by another tab of the same client.
    /// It is refused, and the session lives.
    Late,
    /// It was exchanged before: somebody has a copy of it.
    Reused,
}

impl Presented {
    /// Judges a genuine token by the generation of its session's row. `elapsed` is the time since the
    /// last exchange in which the client could have had an answer.
    #[must_use]
    pub fn judge(presented: i64, stored: i64, elapsed: Seconds, window: RetryWindow) -> Self {
        match stored.saturating_sub(presented) {
            0 => Self::Current,
            ..0 => Self::Ahead,
            1 if window.holds(elapsed) => Self::Retry,
            2 if window.holds(elapsed) && elapsed < LATE_TAB_WINDOW => Self::Late,
            1.. => Self::Reused,
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
    fn a_clock_that_is_behind_moves_no_date_back() {
        let lifetimes = SessionLifetimes { idle: Seconds::new(100), absolute: Seconds::new(250) };
        let opened = SessionDates::opened(Timestamp(1_000), lifetimes);
        assert_eq!(opened.refreshed(Timestamp(900), lifetimes.idle), opened);
    }

    #[test]
    fn what_a_token_means_follows_from_how_far_behind_it_is() {
        use Presented::{Ahead, Current, Late, Retry, Reused};
        let two_minutes = RetryWindow::For(Seconds::new(120));
        let none = RetryWindow::For(Seconds::new(0));
        for (presented, elapsed, window, expected) in [
            (5, 1_000_000, two_minutes, Current),
            (6, 0, two_minutes, Ahead),
            (900, 0, none, Ahead),
            (4, 0, two_minutes, Retry),
            (4, 119, two_minutes, Retry),
            (4, 120, two_minutes, Reused),
            (4, 0, none, Reused),
            (4, 1_000_000, RetryWindow::UntilUsed, Retry),
            (3, 9, two_minutes, Late),
            (3, 10, two_minutes, Reused),
            (3, 9, RetryWindow::UntilUsed, Late),
            (3, 10, RetryWindow::UntilUsed, Reused),
            (3, 4, RetryWindow::For(Seconds::new(5)), Late),
            (3, 5, RetryWindow::For(Seconds::new(5)), Reused),
            (3, 0, none, Reused),
            (2, 0, RetryWindow::UntilUsed, Reused),
        ] {
            let judged = Presented::judge(presented, 5, Seconds::new(elapsed), window);
            assert_eq!(judged, expected, "generation {presented} after {elapsed} s, {window}");
        }
    }
}
