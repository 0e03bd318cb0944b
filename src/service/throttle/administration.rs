//! Shows operators how an account is throttled, and unlocks it.

use std::path::PathBuf;

use serde::Serialize;

use super::AccountOf;
use crate::keys::KeyError;
use crate::keys::key_store::{find_throttle_key, open_throttle_key};
use jeton_crypto::sealing::MasterKeys;
use jeton_crypto::throttle_key::ThrottleKey;
use jeton_oauth::Timestamp;
use jeton_oauth::throttle::{Counted, CounterName, FailureCounter, Verdict};
use jeton_store::Store;
use jeton_store::keys::ListKeys;
use jeton_store::throttle::{FindCounter, ListCountersOfAccount, UnlockAccount};
use jeton_store::users::User;

/// How an account is throttled.
#[derive(Debug, Default, Serialize)]
pub struct AccountThrottle {
    /// Failures in a row from origins that the account does not know.
    pub failures: i64,
    /// Until when logins from such origins are refused, if they are.
    pub waits_until: Option<Timestamp>,
    /// Whether such logins are refused until the password is changed or the user is unlocked.
    pub locked: bool,
    /// How many origins the account knows.
    pub known_origins: usize,
    /// How many of these must wait because logins from there failed.
    pub known_origins_that_wait: usize,
    /// Wrong one-time passwords in a row, each with the right password, from other origins than known ones with an
    /// address.
    pub wrong_codes: i64,
    /// Whether codes from such origins are refused until the password is changed or the user is unlocked.
    pub codes_locked: bool,
}

/// Opens the key that names counters; `None` if the service has never run.
pub(super) async fn throttle_key(
    store: &Store,
    files: &[PathBuf],
) -> Result<Option<ThrottleKey>, KeyError> {
    let stored = store.perform(ListKeys).await?;
    let Some(row) = find_throttle_key(&stored) else { return Ok(None) };
    let masters = MasterKeys::load(files, true)?;
    open_throttle_key(row, &masters).map(Some)
}

async fn code_counter(
    store: &Store,
    files: &[PathBuf],
    user: &User,
) -> Result<Option<CounterName>, KeyError> {
    let key = throttle_key(store, files).await?;
    Ok(key.map(|key| key.name(Counted::Codes, &AccountOf::User(&user.id).parts())))
}

async fn counter(
    store: &Store,
    files: &[PathBuf],
    user: &User,
) -> Result<Option<CounterName>, KeyError> {
    let key = throttle_key(store, files).await?;
    Ok(key.map(|key| AccountOf::User(&user.id).counter(&key)))
}

/// Reads how an account is throttled. `files` are the master keys.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn look(
    store: &Store,
    files: &[PathBuf],
    user: &User,
    now: Timestamp,
) -> Result<AccountThrottle, KeyError> {
    let Some(account) = counter(store, files, user).await? else {
        return Ok(AccountThrottle::default());
    };
    let counters = store.perform(ListCountersOfAccount(account)).await?;
    let mut found = AccountThrottle::default();
    for (name, counter) in counters {
        let counter = counter.since(user.failures_since());
        if name == account {
            found.failures = counter.failures;
            found.locked = counter.is_locked();
            found.waits_until = waits_until(&counter, Counted::Account, now);
        } else if counter.is_known(now) {
            found.known_origins += 1;
            let waits = waits_until(&counter, Counted::AccountAtOrigin, now).is_some();
            found.known_origins_that_wait += usize::from(waits);
        }
    }
    if let Some(codes) = code_counter(store, files, user).await? {
        let stored = store.perform(FindCounter(codes)).await?.since(user.failures_since());
        (found.wrong_codes, found.codes_locked) = (stored.failures, stored.is_locked());
    }
    Ok(found)
}

/// When the wait ends that a counter demands at a moment, if it demands one.
pub(super) fn waits_until(
    stored: &FailureCounter,
    counted: Counted,
    now: Timestamp,
) -> Option<Timestamp> {
    match stored.verdict(counted, now) {
        Verdict::Wait(until) => Some(until),
        Verdict::Free(_) | Verdict::Once => None,
    }
}

/// Forgets all failures of an account. Returns whether there were any. `files` are the master keys.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn unlock(store: &Store, files: &[PathBuf], user: &User) -> Result<bool, KeyError> {
    let Some(account) = counter(store, files, user).await? else { return Ok(false) };
    let mut unlocked = store.perform(UnlockAccount { account, user: user.clone() }).await?;
    if let Some(account) = code_counter(store, files, user).await? {
        unlocked += store.perform(UnlockAccount { account, user: user.clone() }).await?;
    }
    Ok(unlocked > 0)
}
