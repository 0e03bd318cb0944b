//! What clients were answered, and what of it was wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many wrong answers of a kind are kept word by word.
const EXAMPLES_MAX: usize = 3;

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Refresh,
    Introspect,
    Revoke,
    LogIn,
}

/// What a client makes of the answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    /// 503 with `Retry-After`.
    ComeBack,
    /// The connection failed or was closed, or the client waited in vain and hung up.
    NoAnswer,
    Wrong(Wrong),
}

/// An answer that no client may ever get, whatever is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// `invalid_grant` for the refresh token that the client has: the session is lost.
    SessionLost,
    /// A good access token is said to be inactive.
    GoodTokenInactive,
    /// A token is accepted although its revocation was acknowledged.
    RevokedTokenAccepted,
    /// A refresh was answered with a token of another session or generation than the next one.
    ForeignSuccessor,
    /// The right password was refused.
    RightPasswordRefused,
    /// Status 500.
    ServerError,
    /// Neither right nor 503 with `Retry-After`: 401, 429 and the like.
    Unexpected,
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SessionLost => "sessions lost",
            Self::GoodTokenInactive => "× good token `active: false`",
            Self::RevokedTokenAccepted => "× revoked token accepted",
            Self::ForeignSuccessor => "× wrong successor",
            Self::RightPasswordRefused => "× right password refused",
            Self::ServerError => "× 500",
            Self::Unexpected => "× unexpected answer",
        })
    }
}

/// One answer, or none.
struct Entry {
    operation: Operation,
    begun: Instant,
    verdict: Verdict,
}

/// The answers to all clients of one run.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: Mutex<Vec<Entry>>,
    examples: Mutex<Vec<(Wrong, String)>>,
}

/// How many answers of each kind there were.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: usize,
    pub(crate) come_back: usize,
    pub(crate) no_answer: usize,
    pub(crate) wrong: BTreeMap<Wrong, usize>,
}

impl Ledger {
    /// Writes an answer down; `text` tells of it if it is wrong.
    pub(crate) fn record(
        &self,
        operation: Operation,
        begun: Instant,
        verdict: Verdict,
        text: &str,
    ) {
        if let Verdict::Wrong(wrong) = verdict {
            let mut examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
            if examples.iter().filter(|(kind, _)| *kind == wrong).count() < EXAMPLES_MAX {
                examples.push((wrong, format!("{operation:?}: {wrong:?}: {text}")));
            }
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(Entry { operation, begun, verdict });
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            counts.requests += 1;
            match entry.verdict {
                Verdict::Right => {}
                Verdict::ComeBack => counts.come_back += 1,
                Verdict::NoAnswer => counts.no_answer += 1,
                Verdict::Wrong(wrong) => *counts.wrong.entry(wrong).or_default() += 1,
            }
        }
        counts
    }

    /// How many of the requests that were begun in this span had another answer than the right one, and
    /// how many there were. Logins do not count: while many of them wait for their hash, 503 is right.
    pub(crate) fn failed_between(&self, from: Instant, to: Instant) -> (usize, usize) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let of_span = entries.iter().filter(|entry| {
            entry.operation != Operation::LogIn && entry.begun >= from && entry.begun < to
        });
        let verdicts: Vec<_> = of_span.map(|entry| entry.verdict).collect();
        let failed = verdicts.iter().filter(|&&verdict| verdict != Verdict::Right).count();
        (failed, verdicts.len())
    }

    /// How long after `moment` the last request was begun that did not get the right answer; logins
    /// again apart. Zero if all of them did.
    pub(crate) fn recovery_since(&self, moment: Instant) -> Duration {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = entries
            .iter()
            .filter(|entry| entry.operation != Operation::LogIn && entry.verdict != Verdict::Right);
        let after = failed.filter(|entry| entry.begun > moment);
        after.map(|entry| entry.begun - moment).max().unwrap_or_default()
    }

    /// What some of the wrong answers said.
    pub(crate) fn examples(&self) -> Vec<String> {
        let examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
        examples.iter().map(|(_, text)| text.clone()).collect()
    }
}
