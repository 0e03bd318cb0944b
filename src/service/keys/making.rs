//! Reads the keys from the database, makes those that are missing or due, and opens what it can.

use super::error::KeyError;
use super::key_store::{KeyStore, dates, is_for, next_generation};
use super::opened::Opened;
use crate::agreed_clock::AgreedClock;
use jeton_crypto::key_lifecycle::{self, KeyDates, Schedule};
use jeton_crypto::sealing::KeyPurpose;
use jeton_oauth::Timestamp;
use jeton_store::keys::StoredKey;

pub(super) struct Read {
    pub(super) opened: Opened,
    pub(super) schedule: Schedule,
    /// Whether the keys that were missing or due could be made.
    pub(super) made: Result<(), KeyError>,
}

/// Reads the keys, makes those that are missing or due, and opens the others if possible. Keys in `before` are open
/// already. `schedule` is used if that of the replicas cannot be read.
pub(super) async fn read_and_make(
    key_store: &KeyStore,
    clock: &AgreedClock,
    before: &Opened,
    schedule: Schedule,
) -> Result<Read, KeyError> {
    let stored = key_store.list().await?;
    // One moment for both: which replicas run now decides what is due now.
    let now = clock.presumed_now();
    // If this fails, recording the replica fails too, and that is logged.
    let schedule = key_store.schedule_among_replicas(now).await.unwrap_or(schedule);
    let made = make_what_is_due(key_store, clock, now, &schedule, &stored).await;
    let stored = if matches!(made, Ok(false)) { stored } else { key_store.list().await? };
    let opened = Opened::open(&stored, key_store, before, &schedule, clock.presumed_now());
    Ok(Read { opened, schedule, made: made.map(|_| ()) })
}

/// Makes the keys that are missing or due, and returns whether there were any. The signing key comes first, because its
/// master key decides about all others.
///
/// While the clock is off no key is made, since its dates would stay wrong. While a key signs, the next one is made
/// only if the clock is proven.
async fn make_what_is_due(
    key_store: &KeyStore,
    clock: &AgreedClock,
    now: Timestamp,
    schedule: &Schedule,
    stored: &[StoredKey],
) -> Result<bool, KeyError> {
    if let Err(off) = clock.now() {
        return if stored.is_empty() {
            Err(KeyError::new(format!("no keys can be made: {off}")))
        } else {
            Ok(false)
        };
    }
    let signing: Vec<KeyDates> =
        stored.iter().filter(is_for(KeyPurpose::Signing)).map(dates).collect();
    let signs = |key: &KeyDates| key.revoked_at.is_none() && key.activates_at <= now;
    let due = key_lifecycle::next_activation(&signing, now, schedule)
        .filter(|_| clock.is_proven() || !signing.iter().any(signs));
    let is_missing = |stored: &[StoredKey], purpose: KeyPurpose| {
        !stored.iter().any(|key| is_for(purpose)(&key) && key.revoked_at.is_none())
    };
    let symmetric = [KeyPurpose::Refresh, KeyPurpose::Throttle];
    if due.is_none() && !symmetric.iter().any(|purpose| is_missing(stored, *purpose)) {
        return Ok(false);
    }
    if let Some(next) = due {
        // Checked first, because making a key takes a while.
        key_store.masters_to_seal(stored, None, now)?;
        // The lead begins once the key exists.
        let moments = || {
            let created_at = clock.presumed_now();
            (created_at, next.after(created_at.since(now)))
        };
        let generation = next_generation(stored, KeyPurpose::Signing);
        key_store.make_signing_key(generation, None, moments).await?;
    }
    for purpose in symmetric {
        let stored = key_store.list().await?;
        if is_missing(&stored, purpose) {
            let generation = next_generation(&stored, purpose);
            key_store.make_symmetric_key(purpose, generation, None, (now, now)).await?;
        }
    }
    Ok(true)
}
