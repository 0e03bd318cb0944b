//! One-time passwords in attempts to log in.

use super::Attempt;

/// What was sent as a one-time password in an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentCode {
    /// Nothing.
    None,
    /// A wrong one beside the right password.
    Wrong,
    /// One that nobody has judged, because the password was wrong, or there were too many before.
    Unjudged,
}

impl Attempt<'_> {
    /// Whether a code that was sent is to be judged, or else is refused whatever it is.
    #[must_use]
    pub fn allows_codes(&self) -> bool {
        self.counters.allow_codes(self.trusted, self.throttle.clock.now())
    }
}
