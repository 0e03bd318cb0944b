//! Revoking keys.

use super::administration::{KeyAdministration, Known, unknown};
use super::error::KeyError;
use super::key_store::is_for;
use jeton_crypto::key_lifecycle::KeyState;
use jeton_crypto::sealing::{self, KeyPurpose, MasterKeys};
use jeton_oauth::KeyId;
use jeton_store::keys::{RevokeKey, StoredKey};

impl KeyAdministration {
    /// Finds a key by name. Returns its purpose, and whether it makes tokens now, so that a new key must replace it.
    ///
    /// # Errors
    /// A sentence if there is no such key, or it was revoked.
    pub async fn is_in_use(&self, kid: &KeyId) -> Result<(KeyPurpose, bool), KeyError> {
        let stored = self.key_store.list().await?;
        let key = stored.iter().find(|key| key.id == *kid).ok_or_else(|| unknown(kid))?;
        if let Some(at) = key.revoked_at {
            return Err(KeyError::conflict(format!(
                "the key {kid} was revoked {at}: nothing was changed"
            )));
        }
        if is_for(KeyPurpose::Throttle)(&key) {
            // The service makes another one within seconds.
            return Ok((KeyPurpose::Throttle, false));
        }
        if is_for(KeyPurpose::SecondFactor)(&key) {
            return Ok((KeyPurpose::SecondFactor, false));
        }
        if is_for(KeyPurpose::Data)(&key) {
            return Err(KeyError::conflict(format!(
                "{kid} is the data key that seals password hashes, without which nobody could log in: `jeton user seal \
                 --new-key` replaces it, `jeton user unseal` stores hashes as they are, and for a key that is lost \
                 there is `jeton key revoke --lost`; nothing was changed"
            )));
        }
        if is_for(KeyPurpose::Refresh)(&key) {
            let listed = self.list_refresh().await?;
            let deriving = listed.iter().any(|own| own.kid == *kid && own.state == "deriving");
            return Ok((KeyPurpose::Refresh, deriving));
        }
        let known = self.known(&stored);
        let signing = |own: &Known| own.life.state == KeyState::Signing && own.stored.id == *kid;
        Ok((KeyPurpose::Signing, known.iter().any(signing)))
    }

    /// Revokes a key. A key that makes tokens is replaced first, so that one always does.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub async fn revoke(&self, kid: &KeyId) -> Result<(), KeyError> {
        match self.is_in_use(kid).await? {
            (KeyPurpose::Signing, true) => {
                let plan = self.plan_rotation(true, Some(kid)).await?;
                self.rotate(&plan, Some(kid)).await?;
            }
            (KeyPurpose::Refresh, true) => {
                self.make_refresh_key(self.now, Some(kid)).await?;
            }
            (KeyPurpose::Throttle | KeyPurpose::SecondFactor | KeyPurpose::Data, _)
            | (_, false) => {}
        }
        self.withdraw(kid).await
    }

    /// Finds the keys that are sealed under a master key that is not named, and are not withdrawn. Says of each whether
    /// it is a data key.
    ///
    /// # Errors
    /// A sentence if the database or a master key cannot be read.
    pub async fn sealed_elsewhere(&self) -> Result<Vec<(KeyId, bool)>, KeyError> {
        let masters = MasterKeys::load(&self.key_store.master_key_files, true);
        let masters = masters
            .map_err(|error| KeyError::from(error).and("make a new one first: `jeton key init`"))?;
        let stored = self.key_store.list().await?;
        let is_elsewhere = |key: &&StoredKey| {
            let master = sealing::sealed_under(&key.sealed_key);
            key.revoked_at.is_none() && master.is_some_and(|master| !masters.has(&master))
        };
        let found = stored.iter().filter(is_elsewhere);
        Ok(found.map(|key| (key.id.clone(), is_for(KeyPurpose::Data)(&key))).collect())
    }

    /// Withdraws a key without a successor; the service makes one when it starts and there is none.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub async fn withdraw(&self, kid: &KeyId) -> Result<(), KeyError> {
        let revoke = RevokeKey { id: kid.clone(), now: self.now };
        if !self.key_store.store.perform(revoke).await? {
            return Err(KeyError::conflict(format!(
                "the key {kid} was revoked by another command meanwhile"
            )));
        }
        Ok(())
    }
}
