//! Incidents: what gets an audit event of its own, and often a metric.

/// Something that operators want to know about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// A client presented many tokens that this service never made.
    UnknownTokens,
    /// An account had so many failures in a row that only known origins are served.
    AccountLocked,
    /// A client whose secret is a hash had so many failures in a row that only known origins are served.
    ClientLocked,
    /// A user had so many wrong one-time passwords in a row that only known origins with an address are served.
    CodesLocked,
    /// A genuine refresh token was ahead of its session's row: the database lost writes.
    SessionCaughtUp(Generations),
    /// A refresh token was presented again after it had been exchanged.
    RefreshTokenReused {
        /// The generations, which tell how far behind it was.
        generations: Generations,
        /// Why its session was not ended; `None` if it was.
        withheld: Option<Withheld>,
    },
}

/// The generations of a presented refresh token and of its session's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    /// The token's.
    pub presented: i64,
    /// The row's.
    pub stored: i64,
}

/// Why the session of a reused refresh token is not ended. The token is refused all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The token and its successor were exchanged a moment ago: a late tab of the same client.
    LateTab,
    /// The caller has hung up, so it may have given up this request and sent another.
    CallerGone,
    /// The process stood still a moment ago, so the request may have waited that long.
    Standstill,
}

impl Generations {
    /// How many exchanges the token is behind its session.
    #[must_use]
    pub fn behind(self) -> i64 {
        self.stored.saturating_sub(self.presented)
    }

    /// The same as a label of a metric, in which `3_or_more` is the last.
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
    /// The stable word for the log.
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
    /// The name of the audit event.
    #[must_use]
    pub fn event(self) -> &'static str {
        match self {
            Self::UnknownTokens => "unknown_tokens",
            Self::AccountLocked => "account_locked",
            Self::ClientLocked => "client_locked",
            Self::CodesLocked => "codes_locked",
            Self::SessionCaughtUp(_) => "session_caught_up",
            Self::RefreshTokenReused { withheld: None, .. } => "refresh_token_reused",
            Self::RefreshTokenReused { withheld: Some(_), .. } => "reuse_withheld",
        }
    }

    /// A sentence for the log.
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
            Self::ClientLocked => {
                "100 wrong secrets in a row of a client that has one as a hash: until it is given one more \
                 (`jeton client secret add`), that one is taken only from origins that the client knows"
            }
            Self::CodesLocked => {
                "100 wrong one-time passwords in a row, each with the right password: until the password is changed or \
                 the user unlocked, only origins are served that the account knows and whose address can be trusted"
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

    /// The generations, if the incident is about a refresh token.
    #[must_use]
    pub fn generations(self) -> Option<Generations> {
        match self {
            Self::UnknownTokens | Self::AccountLocked | Self::ClientLocked | Self::CodesLocked => {
                None
            }
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
            Self::UnknownTokens
            | Self::AccountLocked
            | Self::ClientLocked
            | Self::CodesLocked
            | Self::SessionCaughtUp(_) => None,
        }
    }
}
