//! Keys, sealed.

use super::value::Row;
use super::{Access, StoreError, Tx, UseCase, sql};
use crate::clock::Timestamp;
use crate::oauth::KeyId;

/// A key as stored.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its name.
    pub id: KeyId,
    /// What it is for.
    pub purpose: String,
    /// Its number among the keys of its purpose.
    pub generation: i64,
    /// Its public half as JSON; empty for a key that has none.
    pub public_jwk: String,
    /// Its private half, or the secret itself; JWE.
    pub sealed_key: String,
    /// When it was made; a signing key is published from then on.
    pub created_at: Timestamp,
    /// From when on it signs or derives.
    pub activates_at: Timestamp,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
}

impl StoredKey {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: KeyId::from_text(row.text(0)?),
            purpose: row.text(1)?,
            generation: row.integer(2)?,
            public_jwk: row.text(3)?,
            sealed_key: row.text(4)?,
            created_at: row.moment(5)?,
            activates_at: row.moment(6)?,
            revoked_at: row.optional_moment(7)?,
        })
    }
}

/// Lists the keys of every purpose, oldest first.
#[derive(Debug)]
pub(crate) struct ListKeys;

impl UseCase for ListKeys {
    type Outcome = Vec<StoredKey>;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StoredKey>, StoreError> {
        let rows = tx.query(&sql::LIST_KEYS, &[]).await?;
        rows.iter().map(StoredKey::read).collect()
    }
}

/// Adds a key of the next generation; `false` if another replica was first.
#[derive(Debug)]
pub(crate) struct AddKey {
    pub(crate) key: StoredKey,
}

impl UseCase for AddKey {
    type Outcome = bool;

    fn access(&self) -> Access {
        Access::Write
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let values = [
            (&self.key.id).into(),
            (&self.key.purpose).into(),
            self.key.generation.into(),
            (&self.key.public_jwk).into(),
            (&self.key.sealed_key).into(),
            self.key.created_at.into(),
            self.key.activates_at.into(),
        ];
        Ok(tx.execute(&sql::INSERT_KEY, &values).await? == 1)
    }
}
