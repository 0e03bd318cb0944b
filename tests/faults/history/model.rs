//! What one session does, in as few words as possible: the reference that every history is held against.

use std::fmt;

/// Microseconds since the run began, by the monotonic clock of the process that asks.
pub(crate) type Moment = u64;

/// So many of them are a second.
pub(crate) const SECOND: Moment = 1_000_000;

/// What is asked. A token is named by its generation: the service derives one from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Refresh(i64),
    IntrospectRefreshToken(i64),
    /// Of an access token that has not expired.
    IntrospectAccessToken,
    /// By any token of the session.
    Revoke,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The refresh token of this generation.
    Token(i64),
    /// `invalid_grant`.
    Refused,
    Active,
    Inactive,
    Revoked,
    /// 503, no answer in time, or a connection that was lost: it took effect, or will, or never does.
    Unknown,
}

/// A call and its answer, as the caller saw them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) worker: usize,
    pub(crate) replica: usize,
    pub(crate) call: Call,
    pub(crate) answer: Answer,
    pub(crate) asked_at: Moment,
    /// When the caller got the answer, or gave up.
    pub(crate) answered_at: Moment,
    /// Whether the replica stood still shortly before: then it may refuse a token that was used before
    /// without ending the session.
    pub(crate) may_be_spared: bool,
}

/// What differs between sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// For how long the token before the current one is answered at least; as long as its successor is
    /// unused if absent.
    pub(crate) retry_window: Option<Moment>,
    /// For how long after a refresh the token before the one that was exchanged is a late tab's: it is
    /// refused and the session lives on, which it may do later, too, as the service does not count time in
    /// which it could not answer. Such a token is one that was used before if absent.
    pub(crate) late_tab_window: Option<Moment>,
    /// Whether a token that was used before ends the session. False where everybody behaves: there, only
    /// requests whose callers have gone present such a token, and those must do no harm.
    pub(crate) reuse_ends: bool,
}

/// A session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Session {
    pub(crate) ended: bool,
    pub(crate) generation: i64,
    /// When the last refresh was asked for.
    refreshed_at: Moment,
}

impl Session {
    /// As a login leaves it.
    pub(crate) const OPENED: Self = Self { ended: false, generation: 0, refreshed_at: 0 };

    /// The sessions that this operation can leave behind if it takes effect now; none if its answer is
    /// then wrong. An unknown answer is never wrong; of its effects, doing nothing is left out.
    pub(crate) fn after(self, operation: &Operation, rules: Rules) -> Vec<Self> {
        let outcomes = self.outcomes(operation, rules).into_iter().flatten();
        let fits = |(answer, after): (Answer, Self)| {
            let fits = match operation.answer {
                Answer::Unknown => after != self,
                known => answer == known,
            };
            fits.then_some(after)
        };
        outcomes.filter_map(fits).collect()
    }

    /// What the service may answer now, and what the session is then; there are at most two ways.
    fn outcomes(self, operation: &Operation, rules: Rules) -> [Option<(Answer, Self)>; 2] {
        let ended = Self { ended: true, ..self };
        let one = |answer, after| [Some((answer, after)), None];
        match operation.call {
            Call::Refresh(_) if self.ended => one(Answer::Refused, self),
            Call::Refresh(of) if of > self.generation => [None, None],
            Call::Refresh(of) if of == self.generation => {
                let (generation, refreshed_at) = (of + 1, operation.asked_at);
                one(Answer::Token(generation), Self { generation, refreshed_at, ..self })
            }
            Call::Refresh(of) if of == self.generation - 1 => {
                let late = self.can_be_over(rules.retry_window, operation, rules);
                let retry = (Answer::Token(self.generation), self);
                [Some(retry), late.then_some((Answer::Refused, ended))]
            }
            Call::Refresh(of) => {
                let window = rules.late_tab_window.filter(|_| of == self.generation - 2);
                let reused = window.is_none() || self.can_be_over(window, operation, rules);
                let spared = window.is_some() || operation.may_be_spared || !rules.reuse_ends;
                let end = (reused && rules.reuse_ends).then_some((Answer::Refused, ended));
                [end, spared.then_some((Answer::Refused, self))]
            }
            Call::IntrospectRefreshToken(of) => {
                let is_active = !self.ended && of >= self.generation;
                one(if is_active { Answer::Active } else { Answer::Inactive }, self)
            }
            Call::IntrospectAccessToken => {
                one(if self.ended { Answer::Inactive } else { Answer::Active }, self)
            }
            Call::Revoke => one(Answer::Revoked, ended),
        }
    }

    /// Whether a window since the last refresh can have passed, which the service counts in whole seconds.
    fn can_be_over(self, window: Option<Moment>, operation: &Operation, rules: Rules) -> bool {
        let unknown = operation.answer == Answer::Unknown;
        let answered_at = if unknown { Moment::MAX } else { operation.answered_at };
        let elapsed = answered_at.saturating_sub(self.refreshed_at).saturating_add(SECOND);
        rules.reuse_ends && window.is_some_and(|window| elapsed >= window)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ended {
            f.write_str("ended")
        } else {
            write!(f, "at generation {}", self.generation)
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refresh(of) => write!(f, "refresh {of}"),
            Self::IntrospectRefreshToken(of) => write!(f, "introspect refresh token {of}"),
            Self::IntrospectAccessToken => f.write_str("introspect access token"),
            Self::Revoke => f.write_str("revoke"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(of) => write!(f, "refresh token {of}"),
            Self::Refused => f.write_str("invalid_grant"),
            Self::Active => f.write_str("active"),
            Self::Inactive => f.write_str("inactive"),
            Self::Revoked => f.write_str("done"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
