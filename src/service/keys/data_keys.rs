//! Data keys: those that this replica has open, and what a person does with them.

use std::sync::Arc;
use std::time::Duration;

use super::administration::{KeyAdministration, another_was_first};
use super::key_store::{NewKey, is_for, log_created, next_generation, open_data_key};
use super::{CLOSED_KEY_RETRY, CurrentKeys, KeyError, Keys, LOOK_INTERVAL_MIN};
use crate::Refusal;
use jeton_crypto::data_key::{self, DataKey, DataKeys, Owner};
use jeton_crypto::recovery::{self, Identity, Recipient};
use jeton_crypto::sealing::{KeyPurpose, MasterKeys};
use jeton_oauth::{KeyId, Secret};
use jeton_store::data_keys::{
    AddDataKey, CountOtherHashes, FindRecovery, FindSealedHash, Recovery, SetRecovery,
};
use jeton_store::keys::{ListKeys, ResealKeys, StoredKey};
use jeton_store::secret_hashes::CountOtherSecretHashes;

impl Keys {
    /// The data keys, among them those that are `needed`. If one is not known here, looks at the database first, since
    /// it may just have been made.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if one of them cannot be opened here: without it nobody can tell a right password from
    /// a wrong one.
    pub async fn data_keys(&self, needed: &[&KeyId]) -> Result<Arc<DataKeys>, Refusal> {
        let missing = |current: &CurrentKeys| {
            needed.iter().find(|id| current.opened.data.find(id).is_none()).copied()
        };
        let current = self.current.load_full();
        let Some(id) = missing(&current) else { return Ok(Arc::clone(&current.opened.data)) };
        // The database names the key, not the caller, so nobody outside can cause looks by naming unknown keys.
        let is_closed = current.opened.unusable.iter().any(|key| key.kid == *id);
        let interval = if is_closed { LOOK_INTERVAL_MIN } else { Duration::ZERO };
        let looked = self.look_again_after(interval, |current| missing(current).is_none()).await;
        let current = self.current.load_full();
        let Some(id) = missing(&current) else { return Ok(Arc::clone(&current.opened.data)) };
        let why = match looked {
            Err(problem) => problem.to_string(),
            Ok(()) => current.opened.problem(Some(KeyPurpose::Data)),
        };
        Err(Refusal::Unavailable {
            retry_after: CLOSED_KEY_RETRY,
            detail: format!(
                "the stored hash is sealed under the data key {id}, which cannot be opened here{}{why}; if that key is \
                 lost, `jeton user passwd` sets another password, and `jeton client secret add` makes another secret",
                if why.is_empty() { "" } else { ": " }
            ),
        })
    }
}

/// Seals a data key for recovery keys; `None` if there are none.
fn for_recovery(key: &DataKey, recipients: &[Recipient]) -> Result<Option<Recovery>, KeyError> {
    if recipients.is_empty() {
        return Ok(None);
    }
    let sealed = recovery::seal(recipients, &key.to_jwk()).map_err(|error| {
        KeyError::because(format!("cannot seal the data key for recovery: {error}"), error)
    })?;
    let recipients: Vec<String> = recipients.iter().map(ToString::to_string).collect();
    Ok(Some(Recovery { recipients: recipients.join(" "), sealed }))
}

/// Opens a data key that was sealed for a recovery key.
fn recover(id: &KeyId, recovery: &Recovery, identity: &Identity) -> Result<DataKey, KeyError> {
    let problem = |why: &str| KeyError::new(format!("the data key {id} does not open: {why}"));
    let text = identity.open(&recovery.sealed).map_err(|error| {
        problem(&format!(
            "{error}; it was sealed for {}, and the file has the secret half of {}",
            recovery.recipients,
            identity.recipient()
        ))
    })?;
    let key = DataKey::from_jwk(&text).filter(|key| key.id() == id);
    key.ok_or_else(|| problem("it was altered"))
}

/// The data keys of a database as a command sees them.
#[derive(Clone, Debug, Default)]
pub struct KnownDataKeys {
    /// The one under which hashes are sealed; `None` if they are stored as they are.
    pub current: Option<KeyId>,
    /// The others, which may still seal some hashes.
    pub retired: Vec<KeyId>,
    /// Those that could be opened.
    pub open: DataKeys,
    /// Why the others could not be opened; empty if all were.
    pub problem: String,
}

impl KnownDataKeys {
    /// Opens data keys. `masters` is asked for if there are any.
    pub(crate) fn open(
        stored: &[StoredKey],
        masters: impl FnOnce() -> Result<MasterKeys, KeyError>,
    ) -> Self {
        let keys: Vec<&StoredKey> = stored.iter().filter(is_for(KeyPurpose::Data)).collect();
        if keys.is_empty() {
            return Self::default();
        }
        let current = keys.iter().rfind(|key| key.revoked_at.is_none()).map(|key| &key.id);
        let others = keys.iter().map(|key| &key.id).filter(|id| Some(*id) != current);
        let (mut open, mut problem) = (Vec::new(), String::new());
        match masters() {
            Err(error) => problem = error.to_string(),
            Ok(masters) => {
                for key in &keys {
                    match open_data_key(key, &masters) {
                        Ok(key) => open.push(key),
                        Err(error) => problem = error.to_string(),
                    }
                }
            }
        }
        let (current, retired) = (current.cloned(), others.cloned().collect());
        Self { current, retired, open: DataKeys::new(open), problem }
    }

    /// The key under which hashes are sealed, open; `None` if they are stored as they are.
    ///
    /// # Errors
    /// A sentence if it cannot be opened.
    pub fn sealing(&self) -> Result<Option<&DataKey>, KeyError> {
        let Some(id) = &self.current else { return Ok(None) };
        let closed = || {
            KeyError::new(format!(
                "stored hashes are sealed under the data key {id}, which cannot be opened here: {}",
                self.problem
            ))
        };
        self.open.find(id).map(Some).ok_or_else(closed)
    }

    /// The hash of a user or client, from what is stored.
    ///
    /// # Errors
    /// A sentence if it is sealed and does not open.
    pub fn hash_of<'a>(
        &self,
        owner: impl Into<Owner<'a>>,
        stored: &Secret,
    ) -> Result<Secret, KeyError> {
        let owner = owner.into();
        self.open.open(owner, stored).map_err(|error| {
            let why = if self.problem.is_empty() { "" } else { &self.problem };
            KeyError::because(
                format!("the hash of {owner} does not open: {error}{}{why}", separator(why)),
                error,
            )
        })
    }
}

fn separator(why: &str) -> &'static str {
    if why.is_empty() { "" } else { ": " }
}

/// How hashes are sealed, as `jeton check` finds it.
#[derive(Clone, Debug)]
pub struct Sealing {
    /// The data key.
    pub data_key: KeyId,
    /// The recovery keys that open it, `age1…`.
    pub recipients: Vec<String>,
    /// How many hashes of passwords are not sealed under it yet.
    pub others: i64,
    /// How many hashes of client secrets are not.
    pub other_secrets: i64,
}

/// What came of a recovery.
#[derive(Debug)]
pub struct Recovered {
    /// The data keys that the master key opens now.
    pub keys: Vec<KeyId>,
    /// Why others do not open. They may still seal some hashes.
    pub closed: Vec<KeyError>,
}

impl KeyAdministration {
    /// Checks that the data key opens, and one of the hashes under it. `None` if hashes are stored as they are.
    ///
    /// # Errors
    /// A sentence that says what does not open, or that the database cannot be read.
    pub async fn check_sealing(&self) -> Result<Option<Sealing>, KeyError> {
        let keys = self.data_keys().await?;
        let Some(key) = keys.sealing()? else { return Ok(None) };
        self.check_on_a_hash(key).await?;
        let beginning = data_key::beginning(key.id());
        let store = &self.key_store.store;
        let others = store.perform(CountOtherHashes { beginning: beginning.clone() }).await?;
        let other_secrets = store.perform(CountOtherSecretHashes { beginning }).await?;
        let recipients = self.recipients(key.id()).await?;
        Ok(Some(Sealing { data_key: key.id().clone(), recipients, others, other_secrets }))
    }

    /// The data keys.
    ///
    /// # Errors
    /// A sentence if the database cannot be read.
    pub async fn data_keys(&self) -> Result<KnownDataKeys, KeyError> {
        let stored = self.key_store.list().await?;
        Ok(KnownDataKeys::open(&stored, || self.key_store.masters(&stored)))
    }

    /// Makes a data key, under which hashes are sealed from now on. Those of `recipients` can open it too.
    ///
    /// # Errors
    /// A sentence that says what is wrong; then nothing was changed.
    pub async fn add_data_key(&self, recipients: &[Recipient]) -> Result<DataKey, KeyError> {
        let stored = self.key_store.list().await?;
        let key = DataKey::generate();
        let recovery = for_recovery(&key, recipients)?;
        let generation = next_generation(&stored, KeyPurpose::Data);
        let dates = (self.now, self.now);
        let stored = self.key_store.seal(NewKey::data(&key), generation, None, dates).await?;
        let add = AddDataKey { key: stored.clone(), recovery };
        if !self.key_store.store.perform(add).await? {
            return Err(another_was_first());
        }
        log_created(&stored);
        Ok(key)
    }

    /// Who can open a data key without the master key: their names, `age1…`.
    ///
    /// # Errors
    /// A sentence if the database cannot be read.
    pub async fn recipients(&self, id: &KeyId) -> Result<Vec<String>, KeyError> {
        let found = self.key_store.store.perform(FindRecovery { id: id.clone() }).await?;
        let names = found.map(|recovery| recovery.recipients).unwrap_or_default();
        Ok(names.split_whitespace().map(str::to_owned).collect())
    }

    /// Seals a data key for these recovery keys, and no longer for others.
    ///
    /// # Errors
    /// A sentence that says what is wrong; then nothing was changed.
    pub async fn set_recipients(
        &self,
        key: &DataKey,
        recipients: &[Recipient],
    ) -> Result<(), KeyError> {
        let recovery = for_recovery(key, recipients)?;
        let set = SetRecovery { id: key.id().clone(), recovery };
        if self.key_store.store.perform(set).await? { Ok(()) } else { Err(another_was_first()) }
    }

    /// Seals every data key that `identity` opens under the first master key, which must exist.
    ///
    /// # Errors
    /// A sentence if it opens none, or one is not the key that sealed the hashes; then nothing was changed.
    pub async fn recover(&self, identity: &Identity) -> Result<Recovered, KeyError> {
        let store = &self.key_store.store;
        let masters = MasterKeys::load(&self.key_store.master_key_files, true);
        let masters = masters
            .map_err(|error| KeyError::from(error).and("make a new one first: `jeton key init`"))?;
        let stored = store.perform(ListKeys).await?;
        let (mut keys, mut closed) = (Vec::new(), Vec::new());
        for row in stored.iter().filter(is_for(KeyPurpose::Data)) {
            match self.recover_one(&row.id, identity).await? {
                Ok(key) => {
                    self.check_on_a_hash(&key).await?;
                    let sealed = masters.seal(KeyPurpose::Data, &row.id, key.secret());
                    keys.push((row.id.clone(), row.sealed_key.clone(), sealed));
                }
                Err(problem) => closed.push(problem),
            }
        }
        if keys.is_empty() {
            let none = || KeyError::not_found("there is no data key: stored hashes are not sealed");
            // The newest is the one that matters.
            return Err(closed.pop().unwrap_or_else(none));
        }
        let names = keys.iter().map(|(id, _, _)| id.clone()).collect();
        store.perform(ResealKeys { keys }).await?;
        Ok(Recovered { keys: names, closed })
    }

    /// Opens a data key without the master key, or says why it does not open.
    async fn recover_one(
        &self,
        id: &KeyId,
        identity: &Identity,
    ) -> Result<Result<DataKey, KeyError>, KeyError> {
        let find = FindRecovery { id: id.clone() };
        let Some(recovery) = self.key_store.store.perform(find).await? else {
            return Ok(Err(KeyError::new(format!(
                "the data key {id} was sealed for no recovery key (--no-recovery), so only its master key opens it"
            ))));
        };
        Ok(recover(id, &recovery, identity))
    }

    /// Opens one of the hashes that a data key sealed, if there is any.
    ///
    /// # Errors
    /// A sentence if it does not open, so that the key is another one.
    async fn check_on_a_hash(&self, key: &DataKey) -> Result<(), KeyError> {
        let beginning = data_key::beginning(key.id());
        let found = self.key_store.store.perform(FindSealedHash { beginning }).await?;
        let Some(hash) = found else { return Ok(()) };
        let keys = DataKeys::new(vec![key.clone()]);
        keys.open(&hash.user_id, &hash.text).map(drop).map_err(|error| {
            let sentence = format!(
                "the data key {} does not open the hash of the user with the sub {}: {error}. Somebody replaced one of \
                 them in the database",
                key.id(),
                hash.user_id
            );
            KeyError::because(sentence, error)
        })
    }
}
