//! Stored password hashes as commands read and write them: sealed under a data key, or as they are.

use std::path::PathBuf;

use crate::keys::{KeyError, KnownDataKeys};
use jeton_crypto::data_key::{DataKey, DataKeys};
use jeton_crypto::sealing::MasterKeys;
use jeton_oauth::{ClientId, Secret, Timestamp, UserId};
use jeton_store::client_import::{ImportClients, ImportedClient, SecretForm};
use jeton_store::clients::NewClient;
use jeton_store::data_keys::StoredUnder;
use jeton_store::import::StagedUser;
use jeton_store::keys::ListKeys;
use jeton_store::users::User;
use jeton_store::{Store, StoreError, UseCase};

/// The hashes of a database, and the data keys that open them.
#[derive(Clone, Debug)]
pub struct StoredHashes {
    store: Store,
    master_key_files: Vec<PathBuf>,
    keys: KnownDataKeys,
}

impl StoredHashes {
    /// Reads the data keys. The master keys are read only if there are any.
    ///
    /// # Errors
    /// A sentence if the database cannot be read. A data key that cannot be opened is an error where it is needed.
    pub async fn read(store: &Store, master_key_files: &[PathBuf]) -> Result<Self, KeyError> {
        let stored = store.perform(ListKeys).await?;
        let masters = || Ok(MasterKeys::load(master_key_files, true)?);
        let keys = KnownDataKeys::open(&stored, masters);
        Ok(Self { store: store.clone(), master_key_files: master_key_files.to_vec(), keys })
    }

    /// Reads the data keys of a database if there is one, and checks that hashes can be written.
    ///
    /// # Errors
    /// A sentence if the database cannot be read, or the data key cannot be opened.
    pub async fn read_to_write(
        store: Option<&Store>,
        master_key_files: &[PathBuf],
    ) -> Result<Option<Self>, KeyError> {
        let Some(store) = store else { return Ok(None) };
        let hashes = Self::read(store, master_key_files).await?;
        hashes.check()?;
        Ok(Some(hashes))
    }

    /// Whether new hashes are sealed.
    #[must_use]
    pub fn are_sealed(&self) -> bool {
        self.keys.current.is_some()
    }

    /// Checks that hashes can be written.
    ///
    /// # Errors
    /// A sentence if they are sealed under a data key that cannot be opened.
    pub fn check(&self) -> Result<(), KeyError> {
        self.keys.sealing().map(drop)
    }

    /// The hash of a user.
    ///
    /// # Errors
    /// A sentence if it is sealed and does not open.
    pub fn hash_of(&self, user: &User) -> Result<Secret, KeyError> {
        self.keys.hash_of(&user.id, &user.password_hash)
    }

    /// The hash of a client's secret.
    ///
    /// # Errors
    /// A sentence if it is sealed and does not open.
    pub fn hash_of_secret(&self, client: &ClientId, stored: &Secret) -> Result<Secret, KeyError> {
        self.keys.hash_of(client, stored)
    }

    /// Adds clients, the hashes of whose secrets are as they came; again if sealing begins or ends at that moment.
    ///
    /// # Errors
    /// A sentence if the data key cannot be opened, or the database did not do it.
    pub async fn import_clients(
        &mut self,
        clients: &[ImportedClient],
        now: Timestamp,
    ) -> Result<Vec<NewClient>, KeyError> {
        loop {
            let key = self.keys.sealing()?;
            let mut clients = clients.to_vec();
            for ImportedClient { client, secrets, .. } in &mut clients {
                for secret in secrets {
                    if let (Some(key), SecretForm::Hash(hash)) = (key, &mut secret.stored_as) {
                        *hash = key.seal(&client.id, hash);
                    }
                }
            }
            let data_key = key.map(|key| key.id().clone());
            let clients = StoredUnder { hashes: clients, data_key };
            match self.store.perform(ImportClients { clients, now }).await {
                Err(StoreError::SealingChanged) => {
                    *self = Self::read(&self.store, &self.master_key_files).await?;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Performs what `make` makes of the hash of a user as it is to be stored; again if sealing begins or ends at that
    /// moment.
    ///
    /// # Errors
    /// A sentence if the data key cannot be opened, or the database did not do it.
    pub async fn store<U: UseCase>(
        &mut self,
        user: &UserId,
        hash: &Secret,
        make: impl Fn(StoredUnder<Secret>) -> U,
    ) -> Result<U::Outcome, KeyError> {
        loop {
            let key = self.keys.sealing()?;
            let text = key.map_or_else(|| hash.clone(), |key| key.seal(user, hash));
            let data_key = key.map(|key| key.id().clone());
            match self.store.perform(make(StoredUnder { hashes: text, data_key })).await {
                Err(StoreError::SealingChanged) => {
                    *self = Self::read(&self.store, &self.master_key_files).await?;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Staged users with their hashes as they are to be stored. `staging` sealed them while they were staged.
    ///
    /// # Errors
    /// A sentence if the data key cannot be opened.
    pub(crate) fn of_staged(
        &self,
        mut users: Vec<StagedUser>,
        staging: &StagedHashes,
    ) -> Result<StoredUnder<Vec<StagedUser>>, KeyError> {
        let key = self.keys.sealing()?;
        for user in &mut users {
            let hash = staging.open(user);
            user.password_hash = key.map_or_else(|| hash.clone(), |key| key.seal(&user.id, &hash));
        }
        Ok(StoredUnder { hashes: users, data_key: key.map(|key| key.id().clone()) })
    }
}

/// Seals hashes while they are staged, under a key that is stored nowhere: their database may be on disk.
#[derive(Clone, Debug)]
pub struct StagedHashes(DataKey);

impl Default for StagedHashes {
    fn default() -> Self {
        Self(DataKey::generate())
    }
}

impl StagedHashes {
    /// Seals a hash.
    #[must_use]
    pub fn seal(&self, user: &UserId, hash: &Secret) -> Secret {
        self.0.seal(user, hash)
    }

    /// The hash of a staged user.
    #[must_use]
    pub fn open(&self, user: &StagedUser) -> Secret {
        let keys = DataKeys::new(vec![self.0.clone()]);
        let hash = keys.open(&user.id, &user.password_hash);
        hash.expect("it was sealed by this key, in a database that nobody else can open")
    }
}
