//! Sealed keys.

use super::operator_acts::{Act, Deed};
use super::value::Row;
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::{KeyId, Timestamp};

/// A key as stored.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its name.
    pub id: KeyId,
    /// Its purpose.
    pub purpose: String,
    /// Its number among the keys of its purpose.
    pub generation: i64,
    /// Its public half as JSON; empty if it has none.
    pub public_jwk: String,
    /// Its private half, or the symmetric key, as JWE.
    pub sealed_key: String,
    /// When it was made; a signing key is published from then on.
    pub created_at: Timestamp,
    /// When it begins to sign or derive.
    pub activates_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl StoredKey {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("kid")?,
            purpose: row.get("purpose")?,
            generation: row.get("generation")?,
            public_jwk: row.get("public_jwk")?,
            sealed_key: row.get("sealed_key")?,
            created_at: row.get("created_at")?,
            activates_at: row.get("activates_at")?,
            revoked_at: row.get("revoked_at")?,
        })
    }
}

/// Lists the keys of every purpose, oldest first.
#[derive(Debug)]
pub struct ListKeys;

impl UseCase for ListKeys {
    type Outcome = Vec<StoredKey>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StoredKey>, StoreError> {
        let rows = tx.query(&sql::LIST_KEYS, &[]).await?;
        rows.iter().map(StoredKey::read).collect()
    }
}

/// Adds a key of the next generation; `false` if another replica has added one first.
#[derive(Debug)]
pub struct AddKey {
    /// The sealed key with its dates.
    pub key: StoredKey,
}

impl UseCase for AddKey {
    type Outcome = bool;
    const ACCESS: Access = Access::Write;

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
        let added = tx.execute(&sql::INSERT_KEY, &values).await? == 1;
        if added {
            tx.record(Act::new(Deed::KeyAdded).on(&self.key.id)).await?;
        }
        Ok(added)
    }
}

/// Lets a waiting key begin to sign or derive now; `false` if it has begun, was revoked, or does not exist.
#[derive(Debug)]
pub struct ActivateKey {
    /// The `kid`.
    pub id: KeyId,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for ActivateKey {
    type Outcome = bool;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let values = [(&self.id).into(), self.now.into()];
        let activated = tx.execute(&sql::ACTIVATE_KEY, &values).await? == 1;
        if activated {
            tx.record(Act::new(Deed::KeyActivated).on(&self.id)).await?;
        }
        Ok(activated)
    }
}

/// Revokes a key; `false` if it was revoked before, or does not exist.
#[derive(Debug)]
pub struct RevokeKey {
    /// The `kid`.
    pub id: KeyId,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for RevokeKey {
    type Outcome = bool;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let values = [(&self.id).into(), self.now.into()];
        let revoked = tx.execute(&sql::REVOKE_KEY, &values).await? == 1;
        if revoked {
            tx.record(Act::new(Deed::KeyRevoked).on(&self.id)).await?;
        }
        Ok(revoked)
    }
}

/// Replaces the sealed forms of keys, all or none. Fails if one of them is no longer as it was read.
#[derive(Debug)]
pub struct ResealKeys {
    /// Each key with its sealed form as it was read, and the new one.
    pub keys: Vec<(KeyId, String, String)>,
}

impl UseCase for ResealKeys {
    type Outcome = ();
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for (id, before, after) in &self.keys {
            let values = [id.into(), before.into(), after.into()];
            if tx.execute(&sql::RESEAL_KEY, &values).await? != 1 {
                return Err(StoreError::Conflict(format!("the key {id} was changed meanwhile")));
            }
        }
        tx.record(Act::new(Deed::KeysResealed).affecting(self.keys.len() as u64)).await
    }
}
