//! Sealed password hashes: which data key seals them, and the rows while they are sealed or opened.
//!
//! Hashes are sealed under the newest data key that is not retired, and stored as they are if there is none. Whoever
//! writes a hash presumes a data key, and [`StoredUnder`] checks it in the transaction that writes. So from the moment
//! at which a data key is added or retired, no hash is written that presumes another.

use super::keys::{AddKey, StoredKey};
use super::operator_acts::{Act, Deed};
use super::value::{Row, Value};
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::{KeyId, Secret, Timestamp, UserId};

/// The migration from which on a program knows sealed hashes. One of before takes them for hashes in an unknown format,
/// and refuses the right password.
pub const KNOWN_SINCE: i64 = 11;

/// A hash as it is stored, and whose it is.
#[derive(Clone, Debug)]
pub struct StoredHash {
    /// The `sub`.
    pub user_id: UserId,
    /// The hash, perhaps sealed.
    pub text: Secret,
}

impl StoredHash {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { user_id: row.get("user_id")?, text: row.get("password_hash")? })
    }
}

/// One hash or several, as they are to be stored under a data key.
#[derive(Clone, Debug)]
pub struct StoredUnder<T> {
    /// What is to be stored.
    pub hashes: T,
    /// The data key under which they are sealed; `None` if they are not.
    pub data_key: Option<KeyId>,
}

impl<T> StoredUnder<T> {
    /// What is to be stored, if hashes are sealed under this data key until the end of the transaction.
    pub(super) async fn require(&self, tx: &mut Tx<'_>) -> Result<&T, StoreError> {
        tx.lock(&sql::LOCK_NAMES).await?;
        let current = FindDataKey.run(tx).await?;
        if current == self.data_key { Ok(&self.hashes) } else { Err(StoreError::SealingChanged) }
    }
}

/// Finds the data key under which hashes are sealed; `None` if they are stored as they are.
#[derive(Debug)]
pub struct FindDataKey;

impl UseCase for FindDataKey {
    type Outcome = Option<KeyId>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<KeyId>, StoreError> {
        tx.query(&sql::FIND_DATA_KEY, &[]).await?.first().map(|row| row.get("kid")).transpose()
    }
}

/// A data key as those can open it who have no master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The names of the recovery keys, with blanks between.
    pub recipients: String,
    /// The data key in the format of age.
    pub sealed: String,
}

impl Recovery {
    fn values(recovery: Option<&Self>) -> [Value; 2] {
        [
            recovery.map(|recovery| recovery.recipients.as_str()).into(),
            recovery.map(|recovery| recovery.sealed.as_str()).into(),
        ]
    }
}

/// Adds a data key, under which hashes are sealed from now on. Older ones still open what they sealed. `false` if
/// another one was added first.
#[derive(Clone, Debug)]
pub struct AddDataKey {
    /// The key.
    pub key: StoredKey,
    /// The same key for recovery, unless that was declined.
    pub recovery: Option<Recovery>,
}

impl UseCase for AddDataKey {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        tx.lock(&sql::LOCK_NAMES).await?;
        let before = FindDataKey.run(tx).await?;
        if !(AddKey { key: self.key.clone() }).run(tx).await? {
            return Ok(false);
        }
        let id = &self.key.id;
        let values = [vec![id.into()], Recovery::values(self.recovery.as_ref()).into()].concat();
        tx.execute(&sql::SET_RECOVERY, &values).await?;
        retire(tx, before.as_ref(), Some(id), self.key.created_at).await?;
        Ok(true)
    }
}

/// Retires the data key that is in use, and all others but the one that is to stay.
async fn retire(
    tx: &mut Tx<'_>,
    current: Option<&KeyId>,
    stays: Option<&KeyId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(current) = current else { return Ok(()) };
    let values = [now.into(), stays.map(KeyId::as_str).into()];
    tx.execute(&sql::RETIRE_DATA_KEYS, &values).await?;
    tx.record(Act::new(Deed::KeyRevoked).on(current)).await
}

/// Retires all data keys: from now on hashes are stored as they are. What is sealed stays so, and still opens.
#[derive(Clone, Debug)]
pub struct RetireDataKeys {
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for RetireDataKeys {
    type Outcome = ();
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.lock(&sql::LOCK_NAMES).await?;
        let current = FindDataKey.run(tx).await?;
        retire(tx, current.as_ref(), None, self.now).await
    }
}

/// Deletes a retired data key, unless a hash is still sealed under it. Returns whether it was deleted.
#[derive(Debug)]
pub struct DeleteDataKey {
    /// The key.
    pub id: KeyId,
    /// How the hashes begin that it sealed.
    pub beginning: String,
}

impl UseCase for DeleteDataKey {
    type Outcome = bool;
    const ACCESS: Access = Access::LongTransaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let values = [(&self.id).into(), (&self.beginning).into()];
        let is_deleted = tx.execute(&sql::DELETE_DATA_KEY, &values).await? == 1;
        if is_deleted {
            tx.record(Act::new(Deed::KeyDeleted).on(&self.id)).await?;
        }
        Ok(is_deleted)
    }
}

/// Finds who can open a data key without a master key.
#[derive(Debug)]
pub struct FindRecovery {
    /// The data key.
    pub id: KeyId,
}

impl UseCase for FindRecovery {
    type Outcome = Option<Recovery>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Recovery>, StoreError> {
        let rows = tx.query(&sql::FIND_RECOVERY, &[(&self.id).into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let recipients: Option<String> = row.get("recovery_recipients")?;
        let sealed: Option<String> = row.get("recovery")?;
        Ok(recipients.zip(sealed).map(|(recipients, sealed)| Recovery { recipients, sealed }))
    }
}

/// Says who can open a data key without a master key. `false` if there is no such key.
#[derive(Debug)]
pub struct SetRecovery {
    /// The data key.
    pub id: KeyId,
    /// `None` if nobody can.
    pub recovery: Option<Recovery>,
}

impl UseCase for SetRecovery {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let recovery = Recovery::values(self.recovery.as_ref());
        let values = [vec![(&self.id).into()], recovery.into()].concat();
        let is_set = tx.execute(&sql::SET_RECOVERY, &values).await? == 1;
        if is_set {
            tx.record(Act::new(Deed::RecoverySet).on(&self.id)).await?;
        }
        Ok(is_set)
    }
}

/// Lists stored hashes in the order of the users' `sub`s.
#[derive(Debug)]
pub struct ListHashes {
    /// The user after whom the page begins; `None` for the first page.
    pub after: Option<UserId>,
    /// The most hashes of one page.
    pub limit: i64,
}

impl UseCase for ListHashes {
    type Outcome = Vec<StoredHash>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StoredHash>, StoreError> {
        let after = self.after.as_ref().map_or("", UserId::as_str);
        let rows = tx.query(&sql::LIST_HASHES, &[after.into(), self.limit.into()]).await?;
        rows.iter().map(StoredHash::read).collect()
    }
}

/// Counts the hashes that begin otherwise. It reads every user.
#[derive(Debug)]
pub struct CountOtherHashes {
    /// How hashes begin that are sealed under a data key.
    pub beginning: String,
}

impl UseCase for CountOtherHashes {
    type Outcome = i64;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        let rows = tx.query(&sql::COUNT_OTHER_HASHES, &[(&self.beginning).into()]).await?;
        rows.first().map_or(Ok(0), |row| row.get("hashes"))
    }
}

/// Finds a hash that was sealed under a data key; `None` if there is none.
#[derive(Debug)]
pub struct FindSealedHash {
    /// How hashes begin that are sealed under it.
    pub beginning: String,
}

impl UseCase for FindSealedHash {
    type Outcome = Option<StoredHash>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<StoredHash>, StoreError> {
        let rows = tx.query(&sql::FIND_SEALED_HASH, &[(&self.beginning).into()]).await?;
        rows.first().map(StoredHash::read).transpose()
    }
}

/// Replaces stored hashes by the same hashes, sealed under the current data key or opened. A hash that is no longer as
/// it was read is left as it is. Returns how many were replaced.
#[derive(Clone, Debug)]
pub struct ReplaceHashes {
    /// Each hash as it was read, and the text that replaces it.
    pub hashes: StoredUnder<Vec<(StoredHash, Secret)>>,
}

impl UseCase for ReplaceHashes {
    type Outcome = u64;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let hashes = self.hashes.require(tx).await?;
        let replaced = if tx.has_lists() {
            let column =
                |value: fn(&(StoredHash, Secret)) -> Value| Value::texts(hashes.iter().map(value));
            let values = [
                column(|(hash, _)| (&hash.user_id).into()),
                column(|(hash, _)| hash.text.expose().into()),
                column(|(_, text)| text.expose().into()),
            ];
            tx.execute(&sql::REPLACE_LISTS_OF_HASHES, &values).await?
        } else {
            let mut replaced = 0;
            for (hash, text) in hashes {
                let before = hash.text.expose();
                let values = [(&hash.user_id).into(), before.into(), text.expose().into()];
                replaced += tx.execute(&sql::REPLACE_HASH, &values).await?;
            }
            replaced
        };
        if replaced > 0 {
            let are_sealed = self.hashes.data_key.is_some();
            let deed = if are_sealed { Deed::HashesSealed } else { Deed::HashesUnsealed };
            tx.record(Act::new(deed).slice(replaced)).await?;
        }
        Ok(replaced)
    }
}
