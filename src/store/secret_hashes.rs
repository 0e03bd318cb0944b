//! Hashes of client secrets that came from another service, while they are sealed or opened. There are few: the first use
//! of a secret replaces its hash by a digest.

use super::data_keys::StoredUnder;
use super::operator_acts::{Act, Deed};
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::{ClientId, Secret};

/// The hash of a client's secret as it is stored.
#[derive(Clone, Debug)]
pub struct StoredSecretHash {
    /// The `client_id`.
    pub client_id: ClientId,
    /// Which of the client's secrets.
    pub number: i64,
    /// The hash, perhaps sealed.
    pub text: Secret,
}

/// Lists them, in the order of clients and secrets.
#[derive(Debug)]
pub struct ListSecretHashes;

impl UseCase for ListSecretHashes {
    type Outcome = Vec<StoredSecretHash>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StoredSecretHash>, StoreError> {
        let mut hashes = Vec::new();
        for row in tx.query(&sql::LIST_SECRET_HASHES, &[]).await? {
            hashes.push(StoredSecretHash {
                client_id: row.get("client_id")?,
                number: row.get("secret_number")?,
                text: row.get("secret_hash")?,
            });
        }
        Ok(hashes)
    }
}

/// Counts those that begin otherwise.
#[derive(Debug)]
pub struct CountOtherSecretHashes {
    /// How hashes begin that are sealed under a data key.
    pub beginning: String,
}

impl UseCase for CountOtherSecretHashes {
    type Outcome = i64;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        let rows = tx.query(&sql::COUNT_OTHER_SECRET_HASHES, &[(&self.beginning).into()]).await?;
        rows.first().map_or(Ok(0), |row| row.get("hashes"))
    }
}

/// Replaces stored hashes by the same hashes, sealed under the current data key or opened. A hash that is no longer as
/// it was read is left as it is. Returns how many were replaced.
#[derive(Clone, Debug)]
pub struct ResealSecretHashes {
    /// Each hash as it was read, and the text that replaces it.
    pub hashes: StoredUnder<Vec<(StoredSecretHash, Secret)>>,
}

impl UseCase for ResealSecretHashes {
    type Outcome = u64;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let mut replaced = 0;
        for (hash, text) in self.hashes.require(tx).await? {
            let values = [
                (&hash.client_id).into(),
                hash.number.into(),
                hash.text.expose().into(),
                text.expose().into(),
            ];
            replaced += tx.execute(&sql::RESEAL_SECRET_HASH, &values).await?;
        }
        if replaced > 0 {
            let are_sealed = self.hashes.data_key.is_some();
            let deed = if are_sealed { Deed::HashesSealed } else { Deed::HashesUnsealed };
            tx.record(Act::new(deed).slice(replaced)).await?;
        }
        Ok(replaced)
    }
}
