//! Seals all stored hashes under the data key, or opens them again, beside a serving service.
//!
//! Rows are read in the order of their `sub`s and replaced in batches, each by compare and set: a login or a change of
//! password that comes first stays. Rounds are repeated until one finds nothing to do. So a run that was interrupted is
//! continued by the next one.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::keys::administration::KeyAdministration;
use crate::keys::{KeyError, KnownDataKeys};
use jeton_crypto::data_key::{self, DataKey};
use jeton_oauth::{KeyId, Secret, UserId};
use jeton_store::StoreError;
use jeton_store::data_keys::{
    DeleteDataKey, ListHashes, ReplaceHashes, RetireDataKeys, StoredHash, StoredUnder,
};

/// How many rows are read, and replaced, at once: the fewest and the most.
const ROWS_MIN: i64 = 250;
const ROWS_MAX: i64 = 4_000;
/// How long a batch should take. Logins of its users, and on SQLite all that writes, wait for it.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// How often a batch is tried if the database is too busy.
const TRIES: usize = 5;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Converted {
    /// How many hashes were sealed, or opened.
    pub hashes: u64,
    /// Users whose hashes do not open, so that they stay as they are, with the reason. At most
    /// [`CLOSED_MAX`](Self::CLOSED_MAX).
    pub closed: Vec<(UserId, String)>,
    /// How many such users there are.
    pub closed_count: u64,
    /// Data keys that were deleted, because they seal nothing any more.
    pub deleted: Vec<KeyId>,
}

impl Converted {
    /// How many users are named whose hashes do not open.
    pub const CLOSED_MAX: usize = 10;
}

impl KeyAdministration {
    /// Seals every hash that is not sealed under the current data key. Deletes older data keys that seal nothing any
    /// more. `progress` gets how many hashes were sealed so far.
    ///
    /// # Errors
    /// A sentence; what was sealed stays so, and another run goes on.
    pub async fn seal_hashes(&self, progress: impl FnMut(u64)) -> Result<Converted, KeyError> {
        let keys = self.data_keys().await?;
        let key = keys.sealing()?.ok_or_else(|| KeyError::new("there is no data key"))?;
        self.convert(&keys, Some(key), progress).await
    }

    /// Opens every sealed hash and stores it as it is. New hashes are no longer sealed. Deletes the data keys.
    ///
    /// # Errors
    /// A sentence; what was opened stays so, and another run goes on.
    pub async fn unseal_hashes(&self, progress: impl FnMut(u64)) -> Result<Converted, KeyError> {
        let keys = self.data_keys().await?;
        // Before anything is changed: with a key that is not here, everything would stay sealed.
        keys.sealing()?;
        self.key_store.store.perform(RetireDataKeys { now: self.now }).await?;
        self.convert(&self.data_keys().await?, None, progress).await
    }

    async fn convert(
        &self,
        keys: &KnownDataKeys,
        to: Option<&DataKey>,
        mut progress: impl FnMut(u64),
    ) -> Result<Converted, KeyError> {
        let mut done = Converted::default();
        // Asked for first, because this may be interrupted.
        self.key_store.store.ask_for_rewrite().await?;
        loop {
            let before = done.hashes;
            let found = self.convert_once(keys, to, &mut done, &mut progress).await?;
            if found == 0 {
                break;
            }
            if done.hashes == before {
                sleep(BATCH_TIME).await;
            }
        }
        for id in &keys.retired {
            let delete = DeleteDataKey { id: id.clone(), beginning: data_key::beginning(id) };
            if self.key_store.store.perform(delete).await? {
                done.deleted.push(id.clone());
            }
        }
        Ok(done)
    }

    /// Looks at all rows once, and returns how many were not yet as they should be and open.
    async fn convert_once(
        &self,
        keys: &KnownDataKeys,
        to: Option<&DataKey>,
        done: &mut Converted,
        progress: &mut impl FnMut(u64),
    ) -> Result<u64, KeyError> {
        let store = &self.key_store.store;
        let (mut after, mut limit, mut found) = (None, ROWS_MIN, 0);
        (done.closed_count, done.closed) = (0, Vec::new());
        loop {
            let page = store.perform(ListHashes { after: after.clone(), limit }).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some(last.user_id.clone());
            let hashes = converted(page, keys, to, done);
            if hashes.is_empty() {
                continue;
            }
            found += hashes.len() as u64;
            let started = Instant::now();
            done.hashes += self.replace(hashes, to).await?;
            progress(done.hashes);
            let is_slow = started.elapsed() > BATCH_TIME;
            limit = if is_slow { limit / 2 } else { limit * 2 }.clamp(ROWS_MIN, ROWS_MAX);
            sleep(store.pause_beside()).await;
        }
    }

    /// Replaces hashes, and tries again if the database was too busy. Doing it twice does no harm.
    async fn replace(
        &self,
        hashes: Vec<(StoredHash, Secret)>,
        to: Option<&DataKey>,
    ) -> Result<u64, KeyError> {
        let store = &self.key_store.store;
        let data_key = to.map(|key| key.id().clone());
        let replace = ReplaceHashes { hashes: StoredUnder { hashes, data_key } };
        for _ in 1..TRIES {
            match store.perform(replace.clone()).await {
                Err(StoreError::Unavailable(_)) => {
                    sleep(store.pause_beside().max(BATCH_TIME)).await;
                }
                outcome => return Ok(outcome?),
            }
        }
        Ok(store.perform(replace).await?)
    }
}

/// The hashes of a page that are not yet as they should be, with the texts that replace them.
fn converted(
    page: Vec<StoredHash>,
    keys: &KnownDataKeys,
    to: Option<&DataKey>,
    done: &mut Converted,
) -> Vec<(StoredHash, Secret)> {
    let wanted = to.map(|key| data_key::beginning(key.id()));
    let is_as_wanted = |hash: &StoredHash| match &wanted {
        Some(beginning) => hash.text.expose().starts_with(beginning),
        None => !data_key::is_sealed(hash.text.expose()),
    };
    let mut convert = |hash: StoredHash| match keys.open.open(&hash.user_id, &hash.text) {
        Ok(opened) => {
            let text = to.map_or(opened.clone(), |key| key.seal(&hash.user_id, &opened));
            Some((hash, text))
        }
        Err(error) => {
            done.closed_count += 1;
            if done.closed.len() < Converted::CLOSED_MAX {
                done.closed.push((hash.user_id, error.to_string()));
            }
            None
        }
    };
    page.into_iter().filter(|hash| !is_as_wanted(hash)).filter_map(&mut convert).collect()
}
