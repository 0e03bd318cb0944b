//! What operators want to know of: an event of its own in the log, and often a metric.

/// Something that an operator wants to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// A client presented many tokens that this service never made.
    UnknownTokens,
    /// An account had so many failures in a row that only origins which it knows are served.
    AccountLocked,
    /// A genuine refresh token was ahead of its session's row: the database lost writes.
    SessionCaughtUp(Generations),
    /// A refresh token came again after it was exchanged.
    RefreshTokenReused {
        /// How far behind it was.
        generations: Generations,
        /// Why its session was not ended; absent if it was.
        withheld: Option<Withheld>,
    },
}

/// The generations of a refresh token that was presented and of its session's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    /// That of the token.
    pub presented: i64,
    /// That of the row.
    pub stored: i64,
}

/// Why the session of a reused refresh token is not ended, though the token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The token was exchanged a moment ago, and so was its successor: a tab of the same client is late.
    LateTab,
    /// Nobody waits for the answer: the request is one that a client gave up, and may have repeated since.
    CallerGone,
    /// The process stood still a moment ago, so the request may be as old as that.
    Standstill,
}

impl Generations {
    /// How many exchanges the token is behind its session.
    #[must_use]
    pub fn behind(self) -> i64 {
        self.stored.saturating_sub(self.presented)
    }

    /// The same as a label of a metric: 3 stands for more, too.
    #[must_use]
    pub fn behind_label(self) -> &'static str {
        match self.behind() {
            ..=1 => "1",
            2 => "2",
            3.. => "3_or_more",
        }
    }
}

impl Withheld {
    /// A stable word for the log.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::LateTab => "late_tab",
            Self::CallerGone => "caller_gone",
            Self::Standstill => "standstill",
        }
    }
}

impl Incident {
    /// A stable word for the log.
    #[must_use]
    pub fn event(self) -> &'static str {
        match self {
            Self::UnknownTokens => "unknown_tokens",
            Self::AccountLocked => "account_locked",
            Self::SessionCaughtUp(_) => "session_caught_up",
            Self::RefreshTokenReused { withheld: None, .. } => "refresh_token_reused",
            Self::RefreshTokenReused { withheld: Some(_), .. } => "reuse_withheld",
        }
    }

    /// What it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::UnknownTokens => {
                "this client presented 100 tokens within a minute that this service never made"
            }
            Self::AccountLocked => {
                "100 failures in a row: until the password is changed or the user unlocked, only \
                 origins that the account knows are served"
            }
            Self::SessionCaughtUp(_) => {
                "a genuine refresh token was ahead of the database, which lost writes"
            }
            Self::RefreshTokenReused { withheld: None, .. } => {
                "a refresh token came again after it was exchanged: its session was ended"
            }
            Self::RefreshTokenReused { withheld: Some(_), .. } => {
                "a refresh token came again after it was exchanged: it was refused, and its session \
                 was not ended, because a delay may explain it"
            }
        }
    }

    /// The generations of the refresh token and its session, where it is about one.
    #[must_use]
    pub fn generations(self) -> Option<Generations> {
        match self {
            Self::UnknownTokens | Self::AccountLocked => None,
            Self::SessionCaughtUp(generations) | Self::RefreshTokenReused { generations, .. } => {
                Some(generations)
            }
        }
    }

    /// Why the session of a reused refresh token was not ended.
    #[must_use]
    pub fn withheld(self) -> Option<Withheld> {
        match self {
            Self::RefreshTokenReused { withheld, .. } => withheld,
            Self::UnknownTokens | Self::AccountLocked | Self::SessionCaughtUp(_) => None,
        }
    }
}
