//! The life of a session: when it ends, and what a refresh token means (RFC 6749 §6, RFC 9700 §4.14.2). Rules are pure,
//! so every replica decides alike.

use serde::Serialize;

use crate::{RetryWindow, Seconds, Timestamp};

/// The date from which a row may be deleted is rounded up to a multiple of this, in seconds.
const DELETION_STEP: i64 = 3_600;

/// How long sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLifetimes {
    /// How long a session lives after the last refresh.
    pub idle: Seconds,
    /// How long it lives in total, however often it is refreshed.
    pub absolute: Seconds,
}

/// When a session was last refreshed, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SessionDates {
    /// When it was opened or last refreshed.
    pub refreshed_at: Timestamp,
    /// When it ends unless it is refreshed; never later than `ends_at`.
    pub expires_at: Timestamp,
    /// When it ends in any case: no refresh changes this.
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

    /// Whether the session has not expired.
    #[must_use]
    pub fn are_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// From when the row may be deleted. Whole hours, so that most refreshes do not change the index on it.
    #[must_use]
    pub fn deletable_at(&self) -> Timestamp {
        let steps = self.expires_at.0.div_euclid(DELETION_STEP).saturating_add(1);
        Timestamp(steps.saturating_mul(DELETION_STEP))
    }
}

/// How long a token that is two exchanges old may come from a late tab. It is longer than such a tab takes, and much
/// shorter than the life of an access token (`docs/retry-window.md`).
pub const LATE_TAB_WINDOW: Seconds = Seconds::new(10);

/// What a presented refresh token means, by its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// It is the current token: the session is refreshed.
    Current,
    /// It was exchanged, but its successor was not used: the answer may have been lost, or two tabs refreshed at once.
    /// The client gets the same successor.
    Retry,
    /// It was issued, but the database does not know it yet: it was restored from, or failed over to, a copy without
    /// the last refresh. The session catches up.
    Ahead,
    /// It was exchanged, and another tab has just exchanged its successor too. It is refused, and the session goes on.
    Late,
    /// It was exchanged before, so somebody has a copy of it.
    Reused,
}

impl Presented {
    /// Judges a genuine token by the generation in its session's row. `elapsed` is the time since the last exchange in
    /// which the client could have had an answer.
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
