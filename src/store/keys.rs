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
    pub purpose: &'static str,
    /// Its number among the keys of its purpose.
    pub generation: i64,
    /// Its public half, JSON.
    pub public_jwk: String,
    /// Its private half, JWE.
    pub sealed_key: String,
    /// From when on it is published.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub activates_at: Timestamp,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
}

impl StoredKey {
    fn read(purpose: &'static str, row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: KeyId::from_text(row.text(0)?),
            purpose,
            generation: row.integer(1)?,
            public_jwk: row.text(2)?,
            sealed_key: row.text(3)?,
            created_at: row.moment(4)?,
            activates_at: row.moment(5)?,
            revoked_at: row.optional_moment(6)?,
        })
    }
}

/// Lists the keys of a purpose, oldest first.
#[derive(Debug)]
pub(crate) struct ListKeys {
    pub(crate) purpose: &'static str,
}

impl UseCase for ListKeys {
    type Outcome = Vec<StoredKey>;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StoredKey>, StoreError> {
        let rows = tx.query(&sql::LIST_KEYS, &[self.purpose.into()]).await?;
        rows.iter().map(|row| StoredKey::read(self.purpose, row)).collect()
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
            self.key.purpose.into(),
            self.key.generation.into(),
            (&self.key.public_jwk).into(),
            (&self.key.sealed_key).into(),
            self.key.created_at.into(),
            self.key.activates_at.into(),
        ];
        Ok(tx.execute(&sql::INSERT_KEY, &values).await? == 1)
    }
}

/// Counts the keys of every purpose: whether anything was ever sealed.
#[derive(Debug)]
pub(crate) struct CountKeys;

impl UseCase for CountKeys {
    type Outcome = i64;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        let rows = tx.query(&sql::COUNT_KEYS, &[]).await?;
        rows.first().map_or(Ok(0), |row| row.integer(0))
    }
}
