//! For how long a lost answer to a refresh can be asked for again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, Seconds};

/// For how long an exchanged refresh token is answered with the same successor again, while that was not
/// used. On the command line and in the database `2m` or `until-used`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RetryWindow {
    /// For so long after the exchange.
    For(Seconds),
    /// Until the successor is used, or the session ends.
    UntilUsed,
}

impl RetryWindow {
    /// Where neither the service nor a confidential client says otherwise: the client's secret
    /// constrains the token (RFC 9700 §4.14.2).
    pub const OF_CONFIDENTIAL_CLIENTS: Self = Self::UntilUsed;
    /// The same of a public client, whose thief is noticed by the end of the window. The number is
    /// chosen in `docs/retry-window.md`.
    pub const OF_PUBLIC_CLIENTS: Self = Self::For(Seconds::new(120));
    /// The longest window that ends. As long as access tokens usually live: a longer one notices a thief
    /// who refreshes as often as the client no sooner than `until-used` (`docs/retry-window.md`).
    pub const LENGTH_MAX: Seconds = Seconds::new(600);

    const UNTIL_USED: &'static str = "until-used";

    /// Whether so much time after the exchange is within the window.
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
