//! The keys of a database as far as they can be opened here. Each is judged by itself: one that cannot be opened does
//! not keep the others from being used.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::KeyError;
use super::key_store::{
    KeyStore, check_public_half, dates, find_second_factor_key, find_throttle_key, in_use, is_for,
    open_data_key, open_refresh_key, open_second_factor_key, open_signing_key, open_throttle_key,
};
use jeton_crypto::data_key::DataKeys;
use jeton_crypto::key_lifecycle::{KeyDates, Schedule};
use jeton_crypto::key_set::{DatedKey, HeldKey};
use jeton_crypto::refresh_keys::RefreshKey;
use jeton_crypto::sealing::{KeyPurpose, MasterKeys};
use jeton_crypto::second_factor_key::SecondFactorKey;
use jeton_crypto::throttle_key::ThrottleKey;
use jeton_oauth::{KeyId, Timestamp};
use jeton_store::keys::StoredKey;

/// A needed key that cannot be opened here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) kid: KeyId,
    pub(super) purpose: KeyPurpose,
    /// A sentence that says what is wrong and what to do.
    pub(super) problem: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Opened {
    pub(super) signing: Vec<DatedKey>,
    pub(super) refresh: Vec<RefreshKey>,
    pub(super) throttle: Option<ThrottleKey>,
    /// Those that open stored hashes, retired ones among them.
    pub(super) data: Arc<DataKeys>,
    /// Whether every data key is open that is not retired; `None` if there is none.
    pub(super) opens_hashes: Option<bool>,
    pub(super) second_factor: Option<SecondFactorKey>,
    pub(super) unusable: Vec<Unusable>,
    /// What is wrong with public halves in the database, which nothing here uses.
    pub(super) replaced: Vec<String>,
}

impl Opened {
    /// Opens every needed key that is not open in `before`. Ignores keys for purposes that only a later version knows.
    pub(super) fn open(
        stored: &[StoredKey],
        key_store: &KeyStore,
        before: &Self,
        schedule: &Schedule,
        now: Timestamp,
    ) -> Self {
        let mut masters = Opener { key_store, stored, masters: None, unusable: Vec::new() };
        let of_use: HashSet<&KeyId> =
            in_use(stored, schedule, now).into_iter().map(|key| &key.id).collect();
        let rows = |purpose| stored.iter().filter(is_for(purpose));
        let (mut opened, mut data) = (Self::default(), Vec::new());
        for row in rows(KeyPurpose::Signing) {
            let known = before.signing.iter().map(|known| &known.key);
            let known = known.filter(|key| key.whole().is_some()).find(|key| *key.kid() == row.id);
            let key = match known {
                Some(known) => known.clone(),
                None if of_use.contains(&row.id) => masters.signing_key(row),
                None => continue,
            };
            opened.signing.push(DatedKey { key, dates: dates(row) });
        }
        for row in rows(KeyPurpose::Refresh).filter(|row| of_use.contains(&row.id)) {
            let known =
                before.refresh.iter().find(|known| known.is_open() && *known.id() == row.id);
            let key = known.cloned().map(|known| known.dated(dates(row)));
            let key = key.or_else(|| masters.open(row, KeyPurpose::Refresh, open_refresh_key));
            let closed = || RefreshKey::closed(row.id.clone(), dates(row));
            opened.refresh.push(key.unwrap_or_else(closed));
        }
        opened.throttle = find_throttle_key(stored).and_then(|row| {
            let known = before.throttle.clone().filter(|known| *known.id() == row.id);
            known.or_else(|| masters.open(row, KeyPurpose::Throttle, open_throttle_key))
        });
        opened.second_factor = find_second_factor_key(stored).and_then(|row| {
            let known = before.second_factor.clone().filter(|known| *known.id() == row.id);
            known.or_else(|| masters.open(row, KeyPurpose::SecondFactor, open_second_factor_key))
        });
        for row in rows(KeyPurpose::Data) {
            let key = before.data.find(&row.id).cloned();
            let key = key.or_else(|| masters.open(row, KeyPurpose::Data, open_data_key));
            if row.revoked_at.is_none() {
                opened.opens_hashes = Some(opened.opens_hashes != Some(false) && key.is_some());
            }
            data.extend(key);
        }
        opened.data = Arc::new(DataKeys::new(data));
        // A retired key that is lost is told when it is needed.
        masters.unusable.retain(|key| of_use.contains(&key.kid));
        opened.unusable = masters.unusable;
        opened.replaced = opened.replaced_public_halves(stored);
        opened
    }

    /// Compares the public halves in the database with the opened keys.
    fn replaced_public_halves(&self, stored: &[StoredKey]) -> Vec<String> {
        let check = |row: &StoredKey| {
            let held = self.signing.iter().find(|held| *held.key.kid() == row.id)?;
            let checked = check_public_half(row, Some(held.key.whole()?.public()));
            checked.err().map(|error| error.to_string())
        };
        stored.iter().filter(is_for(KeyPurpose::Signing)).filter_map(check).collect()
    }

    pub(super) fn signing_dates(&self) -> Vec<KeyDates> {
        self.signing.iter().map(|key| key.dates).collect()
    }

    /// What is wrong with the keys of one purpose, or of all; empty if nothing is.
    pub(super) fn problem(&self, purpose: Option<KeyPurpose>) -> String {
        let concerned =
            self.unusable.iter().filter(|key| purpose.is_none_or(|purpose| key.purpose == purpose));
        let mut problems: Vec<&str> = concerned.map(|key| key.problem.as_str()).collect();
        problems.dedup();
        problems.join("; ")
    }

    /// Logs each key that has become unusable, or is so for a new reason, and when all are usable again.
    pub(super) fn report(&self, before: &Self) {
        for key in self.unusable.iter().filter(|key| !before.unusable.contains(key)) {
            let (purpose, kid) = (key.purpose.as_str(), &key.kid);
            tracing::error!(purpose, %kid, "a key cannot be used here: {}", key.problem);
        }
        for problem in self.replaced.iter().filter(|problem| !before.replaced.contains(problem)) {
            tracing::error!("{problem}");
        }
        if self.unusable.is_empty() && !before.unusable.is_empty() {
            tracing::info!("every key can be used here again");
        }
    }
}

/// Opens keys, and collects those that it cannot open. Reads the master keys when they are first needed.
struct Opener<'a> {
    key_store: &'a KeyStore,
    stored: &'a [StoredKey],
    masters: Option<Result<MasterKeys, KeyError>>,
    unusable: Vec<Unusable>,
}

impl Opener<'_> {
    fn open<T>(
        &mut self,
        row: &StoredKey,
        purpose: KeyPurpose,
        open: fn(&StoredKey, &MasterKeys) -> Result<T, KeyError>,
    ) -> Option<T> {
        let (key_store, stored) = (self.key_store, self.stored);
        let masters = self.masters.get_or_insert_with(|| key_store.masters(stored));
        let opened = masters.as_ref().map_err(Clone::clone);
        match opened.and_then(|masters| open(row, masters)) {
            Ok(key) => Some(key),
            Err(error) => {
                let problem = error.to_string();
                self.unusable.push(Unusable { kid: row.id.clone(), purpose, problem });
                None
            }
        }
    }

    /// A signing key, or only its name if it cannot be opened.
    fn signing_key(&mut self, row: &StoredKey) -> HeldKey {
        match self.open(row, KeyPurpose::Signing, open_signing_key) {
            Some(key) => HeldKey::Whole(Arc::new(key)),
            None => HeldKey::Name(row.id.clone()),
        }
    }
}
