//! How long a client may retry a refresh whose answer was lost.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, Seconds};

/// How long an exchanged refresh token is answered with the same successor again, while that is unused. Written as `2m`
/// or `until-used` on the command line and in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RetryWindow {
    /// For this long after the exchange.
    For(Seconds),
    /// Until the successor is used, or the session ends.
    UntilUsed,
}

impl RetryWindow {
    /// The default for confidential clients, whose secret constrains the token (RFC 9700 §4.14.2).
    pub const OF_CONFIDENTIAL_CLIENTS: Self = Self::UntilUsed;
    /// The default for public clients: a thief is noticed after it. `docs/retry-window.md` explains the number.
    pub const OF_PUBLIC_CLIENTS: Self = Self::For(Seconds::new(120));
    /// The longest limited window: as long as access tokens usually live. With a longer one, a thief who refreshes as
    /// often as the client would be noticed no sooner than with `until-used` (`docs/retry-window.md`).
    pub const LENGTH_MAX: Seconds = Seconds::new(600);

    const UNTIL_USED: &'static str = "until-used";

    /// Whether a retry this long after the exchange is within the window.
    #[must_use]
    pub fn holds(self, elapsed: Seconds) -> bool {
        match self {
            Self::For(length) => elapsed < length,
            Self::UntilUsed => true,
        }
    }
}

impl FromStr for RetryWindow {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == Self::UNTIL_USED {
            return Ok(Self::UntilUsed);
        }
        match text.parse() {
            Ok(length) if length <= Self::LENGTH_MAX => Ok(Self::For(length)),
            _ => Err(Invalid::new(format!("it must be 0s to {}, or until-used", Self::LENGTH_MAX))),
        }
    }
}

impl TryFrom<String> for RetryWindow {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<RetryWindow> for String {
    fn from(window: RetryWindow) -> Self {
        window.to_string()
    }
}

impl fmt::Display for RetryWindow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(length) => length.fmt(formatter),
            Self::UntilUsed => formatter.write_str(Self::UNTIL_USED),
        }
    }
}
