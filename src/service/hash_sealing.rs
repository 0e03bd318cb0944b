//! Seals all stored hashes under the data key, or opens them again, beside a serving service.
//!
//! Rows are read in the order of their `sub`s and replaced in batches, each by compare and set: a login or a change of
//! password that comes first stays. Rounds are repeated until one finds nothing to do. So a run that was interrupted is
//! continued by the next one. In the same way those of client secrets are sealed that came from another service.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::keys::administration::KeyAdministration;
use crate::keys::{KeyError, KnownDataKeys};
use jeton_crypto::data_key::{self, DataKey, Owner};
use jeton_oauth::{KeyId, Secret};
use jeton_store::StoreError;
use jeton_store::UseCase;
use jeton_store::data_keys::{
    DeleteDataKey, ListHashes, ReplaceHashes, RetireDataKeys, StoredHash, StoredUnder,
};
use jeton_store::secret_hashes::{ListSecretHashes, ResealSecretHashes, StoredSecretHash};

/// How many rows are read, and replaced, at once: the fewest and the most.
const ROWS_MIN: i64 = 250;
const ROWS_MAX: i64 = 4_000;
/// How many hashes of client secrets are replaced at once.
const SECRETS: usize = 250;
/// How long a batch should take. Logins of its users, and on SQLite all that writes, wait for it.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// How often a batch is tried if the database is too busy.
const TRIES: usize = 5;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Converted {
    /// How many hashes were sealed, or opened.
    pub hashes: u64,
    /// Whose hashes do not open, so that they stay as they are, with the reason. At most
    /// [`CLOSED_MAX`](Self::CLOSED_MAX).
    pub closed: Vec<(String, String)>,
    /// How many such hashes there are.
    pub closed_count: u64,
    /// Data keys that were deleted, because they seal nothing any more.
    pub deleted: Vec<KeyId>,
}

impl Converted {
    /// How many are named whose hashes do not open.
    pub const CLOSED_MAX: usize = 10;
}

/// A row with a hash.
trait Row {
    fn owner(&self) -> Owner<'_>;
    fn text(&self) -> &Secret;
}

impl Row for StoredHash {
    fn owner(&self) -> Owner<'_> {
        (&self.user_id).into()
    }

    fn text(&self) -> &Secret {
        &self.text
    }
}

impl Row for StoredSecretHash {
    fn owner(&self) -> Owner<'_> {
        (&self.client_id).into()
    }

    fn text(&self) -> &Secret {
        &self.text
    }
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
        (done.closed_count, done.closed) = (0, Vec::new());
        let mut found = self.convert_secrets(keys, to, done).await?;
        let (mut after, mut limit) = (None, ROWS_MIN);
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
            let hashes = stored_under(hashes, to);
            done.hashes += self.replace(ReplaceHashes { hashes }).await?;
            progress(done.hashes);
            let is_slow = started.elapsed() > BATCH_TIME;
            limit = if is_slow { limit / 2 } else { limit * 2 }.clamp(ROWS_MIN, ROWS_MAX);
            sleep(store.pause_beside()).await;
        }
    }

    /// The same for the hashes of client secrets.
    async fn convert_secrets(
        &self,
        keys: &KnownDataKeys,
        to: Option<&DataKey>,
        done: &mut Converted,
    ) -> Result<u64, KeyError> {
        let stored = self.key_store.store.perform(ListSecretHashes).await?;
        let hashes = converted(stored, keys, to, done);
        for hashes in hashes.chunks(SECRETS) {
            let hashes = stored_under(hashes.to_vec(), to);
            done.hashes += self.replace(ResealSecretHashes { hashes }).await?;
        }
        Ok(hashes.len() as u64)
    }

    /// Replaces hashes, and tries again if the database was too busy. Doing it twice does no harm.
    async fn replace<U>(&self, replace: U) -> Result<u64, KeyError>
    where
        U: UseCase<Outcome = u64> + Clone,
    {
        let store = &self.key_store.store;
        for _ in 1..TRIES {
            match store.perform(replace.clone()).await {
                Err(StoreError::Unavailable(_)) => {
                    sleep(store.pause_beside().max(BATCH_TIME)).await;
                }
                Err(StoreError::SealingChanged) => {
                    return Err(KeyError::conflict(
                        "another command has begun to seal or to open stored hashes, so this one has ended",
                    ));
                }
                outcome => return Ok(outcome?),
            }
        }
        Ok(store.perform(replace).await?)
    }
}

fn stored_under<T>(hashes: T, to: Option<&DataKey>) -> StoredUnder<T> {
    StoredUnder { hashes, data_key: to.map(|key| key.id().clone()) }
}

/// The hashes that are not yet as they should be, with the texts that replace them.
fn converted<T: Row>(
    rows: Vec<T>,
    keys: &KnownDataKeys,
    to: Option<&DataKey>,
    done: &mut Converted,
) -> Vec<(T, Secret)> {
    let wanted = to.map(|key| data_key::beginning(key.id()));
    let is_as_wanted = |row: &T| match &wanted {
        Some(beginning) => row.text().expose().starts_with(beginning),
        None => !data_key::is_sealed(row.text().expose()),
    };
    let mut convert = |row: T| match keys.open.open(row.owner(), row.text()) {
        Ok(opened) => {
            let text = to.map_or(opened.clone(), |key| key.seal(row.owner(), &opened));
            Some((row, text))
        }
        Err(error) => {
            done.closed_count += 1;
            if done.closed.len() < Converted::CLOSED_MAX {
                done.closed.push((row.owner().to_string(), error.to_string()));
            }
            None
        }
    };
    rows.into_iter().filter(|row| !is_as_wanted(row)).filter_map(&mut convert).collect()
}
