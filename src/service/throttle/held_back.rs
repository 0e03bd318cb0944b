//! Which accounts are held back at this moment because of failed logins, for the operator.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::AccountOf;
use super::administration::{throttle_key, waits_until};
use crate::keys::KeyError;
use jeton_crypto::throttle_key::ThrottleKey;
use jeton_oauth::Timestamp;
use jeton_oauth::throttle::{Counted, CounterName, FailureCounter};
use jeton_store::Store;
use jeton_store::throttle::ListWaitingCounters;
use jeton_store::users::User;

/// Why logins of an account are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// From origins that it does not know, because 100 in a row have failed, until its password is changed or an
    /// operator unlocks it.
    Locked,
    /// From origins that it does not know, because of recent failures.
    UnknownOrigins,
    /// From some of the origins that it knows, because of recent failures there.
    KnownOrigins,
}

/// That logins of an account are refused.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Hold {
    /// From where, and why.
    pub why: HoldReason,
    /// How many logins have failed in a row.
    pub failures: i64,
    /// Until when; nothing if the account is locked.
    pub until: Option<Timestamp>,
}

impl fmt::Display for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.why {
            HoldReason::Locked | HoldReason::UnknownOrigins => "unknown origins",
            HoldReason::KnownOrigins => "a known origin",
        };
        write!(formatter, "{place}: {} failed logins", self.failures)
    }
}

/// The counters by which logins are refused at a moment.
#[derive(Debug)]
pub struct HeldBack {
    now: Timestamp,
    /// Nothing if the service has never run.
    key: Option<ThrottleKey>,
    /// By account: its own counter, and those of it at its origins.
    counters: HashMap<CounterName, Vec<(CounterName, FailureCounter)>>,
}

impl HeldBack {
    /// Reads the counters, which say only for a known name that they are its own.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do: the master key is needed.
    pub async fn look(store: &Store, files: &[PathBuf], now: Timestamp) -> Result<Self, KeyError> {
        let key = throttle_key(store, files).await?;
        let mut counters: HashMap<_, Vec<_>> = HashMap::new();
        for (name, account, counter) in store.perform(ListWaitingCounters { now }).await? {
            counters.entry(account.unwrap_or(name)).or_default().push((name, counter));
        }
        Ok(Self { now, key, counters })
    }

    /// Why the logins of a user are refused. There is nothing if they are not.
    #[must_use]
    pub fn of(&self, user: &User) -> Vec<Hold> {
        let account = self.key.as_ref().map(|key| AccountOf::User(&user.id).counter(key));
        let counters = account.and_then(|account| self.counters.get(&account));
        let own = |(name, counter): &(CounterName, FailureCounter)| {
            (Some(*name) == account, counter.since(user.failures_since()))
        };
        let mut holds: Vec<Hold> = Vec::new();
        for (is_account, counter) in counters.into_iter().flatten().map(own) {
            let (counted, why) = if is_account {
                (Counted::Account, HoldReason::UnknownOrigins)
            } else {
                (Counted::AccountAtOrigin, HoldReason::KnownOrigins)
            };
            let failures = counter.failures;
            if is_account && counter.is_locked() {
                holds.push(Hold { why: HoldReason::Locked, failures, until: None });
            } else if (is_account || counter.is_known(self.now))
                && let Some(until) = waits_until(&counter, counted, self.now)
            {
                holds.push(Hold { why, failures, until: Some(until) });
            }
        }
        holds
    }
}
