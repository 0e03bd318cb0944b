//! Keys in the database: listing, opening with the master keys, sealing and adding.

use std::error::Error;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::error::KeyError;
use crate::replicas;
use jeton_crypto::data_key::DataKey;
use jeton_crypto::key_lifecycle::{self, KeyDates, KeyState, Schedule};
use jeton_crypto::refresh_keys::{self, RefreshKey};
use jeton_crypto::sealing::{self, KeyPurpose, MasterKeys};
use jeton_crypto::second_factor_key::SecondFactorKey;
use jeton_crypto::signing::{self, NewSigningKey, PublicJwk, SigningKey};
use jeton_crypto::throttle_key::ThrottleKey;
use jeton_oauth::{KeyId, Seconds, Timestamp};
use jeton_store::Store;
use jeton_store::keys::{AddKey, ListKeys, StoredKey};

/// How long a new refresh key waits before it derives tokens, so that every replica knows it by then.
pub(super) const REFRESH_KEY_LEAD: Seconds = Seconds::new(60);

/// The keys in the database, and the files of the master keys that open them.
#[derive(Clone, Debug)]
pub struct KeyStore {
    /// The database.
    pub store: Store,
    /// The files of the master keys. The first one seals, all open. They are read whenever a key is sealed or opened,
    /// so they can be replaced while the service runs.
    pub master_key_files: Vec<PathBuf>,
    /// The size of new signing keys in bits.
    pub bits: u32,
    /// When signing keys are published, sign and retire.
    pub schedule: Schedule,
}

/// A key that is not stored yet, new or imported.
pub(super) struct NewKey {
    purpose: KeyPurpose,
    id: KeyId,
    public_jwk: String,
    secret: Zeroizing<Vec<u8>>,
}

impl NewKey {
    pub(super) fn signing(key: NewSigningKey) -> Self {
        Self {
            purpose: KeyPurpose::Signing,
            public_jwk: serde_json::to_string(&key.public).expect("strings are JSON"),
            id: key.public.kid,
            secret: key.secret,
        }
    }

    /// A data key.
    pub(super) fn data(key: &DataKey) -> Self {
        Self {
            purpose: KeyPurpose::Data,
            public_jwk: String::new(),
            id: key.id().clone(),
            secret: Zeroizing::new(key.secret().to_vec()),
        }
    }

    fn symmetric(purpose: KeyPurpose) -> Self {
        let (id, secret) = refresh_keys::generate();
        Self { purpose, id, public_jwk: String::new(), secret }
    }
}

pub(super) fn is_for(purpose: KeyPurpose) -> impl Fn(&&StoredKey) -> bool {
    move |key| key.purpose == purpose.as_str()
}

pub(super) fn dates(key: &StoredKey) -> KeyDates {
    KeyDates {
        created_at: key.created_at,
        activates_at: key.activates_at,
        revoked_at: key.revoked_at,
    }
}

impl KeyStore {
    pub(super) async fn list(&self) -> Result<Vec<StoredKey>, KeyError> {
        Ok(self.store.perform(ListKeys).await?)
    }

    /// Reads the master keys. If nothing was ever sealed, makes the first. The error names the one that is needed.
    pub(super) fn masters(&self, stored: &[StoredKey]) -> Result<MasterKeys, KeyError> {
        let loaded = MasterKeys::load(&self.master_key_files, !stored.is_empty());
        let needed = || stored.first().and_then(|key| sealing::sealed_under(&key.sealed_key));
        loaded.map_err(|error| match needed() {
            Some(id) => KeyError::from(error).and(&format!(
                "the key that is needed is the master key {id}; only if no copy of it is left, \
                     `jeton key init` and then `jeton key revoke --lost`"
            )),
            None => error.into(),
        })
    }

    /// Reads the master keys to seal everything again. Makes the first one if it is missing and the others open every
    /// key.
    pub(super) fn masters_to_seal_anew(
        &self,
        stored: &[StoredKey],
    ) -> Result<MasterKeys, KeyError> {
        match self.master_key_files.as_slice() {
            [first, others @ ..] if !others.is_empty() && !first.exists() => {
                let others = MasterKeys::load(others, true)?;
                for key in stored {
                    if let Some(purpose) = KeyPurpose::find(&key.purpose) {
                        others.open(purpose, &key.id, &key.sealed_key)?;
                    }
                }
                Ok(MasterKeys::load(&self.master_key_files, false)?)
            }
            _ => self.masters(stored),
        }
    }

    /// The schedule that suits all replicas on this database.
    pub(super) async fn schedule_among_replicas(
        &self,
        now: Timestamp,
    ) -> Result<Schedule, KeyError> {
        let others = replicas::publication(&self.store, now).await?;
        Ok(others.map_or(self.schedule, |others| self.schedule.among(others.jwks_max_age)))
    }

    /// Reads the master keys to seal one more key, and checks that they open those that are sealed: a key under a
    /// master key that the replicas do not have would be of no use to them.
    ///
    /// A damaged key, or the key that is to be replaced, is no obstacle. If the key that is to be replaced opens, that
    /// is enough, so it can be revoked whatever else is in the table.
    pub(super) fn masters_to_seal(
        &self,
        stored: &[StoredKey],
        replaced: Option<&KeyId>,
        now: Timestamp,
    ) -> Result<MasterKeys, KeyError> {
        let masters = self.masters(stored)?;
        let (replaced, others): (Vec<_>, Vec<_>) = in_use(stored, &self.schedule, now)
            .into_iter()
            .partition(|key| Some(&key.id) == replaced);
        if replaced.iter().any(|key| opens(key, &masters).is_ok()) {
            return Ok(masters);
        }
        let is_foreign = |key: &&&StoredKey| {
            sealing::sealed_under(&key.sealed_key).is_some_and(|master| !masters.has(&master))
        };
        let attempts = || others.iter().map(|key| opens(key, &masters));
        let opens_any = attempts().any(|opened| opened.is_ok());
        let problem = match others.iter().find(is_foreign) {
            Some(key) => opens(key, &masters).err(),
            None if opens_any => None,
            None => attempts().find_map(Result::err),
        };
        match problem {
            None => Ok(masters),
            Some(problem) if opens_any => {
                Err(problem.and("or withdraw the key with `jeton key revoke`; no key was made"))
            }
            Some(problem) => Err(problem.and("no key was made")),
        }
    }

    /// Makes a signing key on a blocking thread, since that can take seconds. Seals and stores it with
    /// [`KeyStore::add`].
    pub(super) async fn make_signing_key(
        &self,
        generation: i64,
        replaced: Option<&KeyId>,
        dates: impl FnOnce() -> (Timestamp, Timestamp) + Send,
    ) -> Result<Option<KeyId>, KeyError> {
        let bits = self.bits;
        let made = tokio::task::spawn_blocking(move || signing::generate(bits)).await;
        let made = made.map_err(|error| {
            KeyError::because(format!("cannot make a signing key: {error}"), error)
        })??;
        // The dates are taken now: a key is published from its creation on, and making it took time.
        self.add(NewKey::signing(made), generation, replaced, dates()).await
    }

    /// Makes a key without a public half, seals it and stores it with [`KeyStore::add`].
    pub(super) async fn make_symmetric_key(
        &self,
        purpose: KeyPurpose,
        generation: i64,
        replaced: Option<&KeyId>,
        dates: (Timestamp, Timestamp),
    ) -> Result<Option<KeyId>, KeyError> {
        self.add(NewKey::symmetric(purpose), generation, replaced, dates).await
    }

    /// Opens the key of second factors, and makes it if there is none.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do: the master key is needed.
    pub async fn second_factor_key(&self, now: Timestamp) -> Result<SecondFactorKey, KeyError> {
        loop {
            let stored = self.list().await?;
            if let Some(row) = find_second_factor_key(&stored) {
                return open_second_factor_key(row, &self.masters(&stored)?);
            }
            let purpose = KeyPurpose::SecondFactor;
            let generation = next_generation(&stored, purpose);
            // If another command makes one at the same moment, the next round finds it.
            self.make_symmetric_key(purpose, generation, None, (now, now)).await?;
        }
    }

    /// Seals and stores a key with these dates. `replaced` is a key that is about to be revoked. `None` if another key
    /// of the same generation was stored first.
    pub(super) async fn add(
        &self,
        new: NewKey,
        generation: i64,
        replaced: Option<&KeyId>,
        dates: (Timestamp, Timestamp),
    ) -> Result<Option<KeyId>, KeyError> {
        let key = self.seal(new, generation, replaced, dates).await?;
        let won = self.store.perform(AddKey { key: key.clone() }).await?;
        if won {
            log_created(&key);
        }
        Ok(won.then_some(key.id))
    }

    /// Seals a key that is to be stored with these dates.
    ///
    /// The stored keys are read just before, and the first key must be a signing key. So if replicas with different
    /// master keys start at once, the first signing key decides, and the others stop.
    pub(super) async fn seal(
        &self,
        new: NewKey,
        generation: i64,
        replaced: Option<&KeyId>,
        (created_at, activates_at): (Timestamp, Timestamp),
    ) -> Result<StoredKey, KeyError> {
        let stored = self.list().await?;
        let mut of_use = in_use(&stored, &self.schedule, created_at).into_iter();
        let has_signing_key = of_use.any(|key| is_for(KeyPurpose::Signing)(&key));
        if new.purpose != KeyPurpose::Signing && !has_signing_key {
            return Err(KeyError::new(
                "there is no signing key, which must be the first: start `jeton serve`, which \
                 makes all keys, or run `jeton key rotate`",
            ));
        }
        let masters = self.masters_to_seal(&stored, replaced, created_at)?;
        Ok(StoredKey {
            sealed_key: masters.seal(new.purpose, &new.id, &new.secret),
            id: new.id,
            purpose: new.purpose.as_str().to_owned(),
            generation,
            public_jwk: new.public_jwk,
            created_at,
            activates_at,
            revoked_at: None,
        })
    }
}

pub(super) fn log_created(key: &StoredKey) {
    let (purpose, kid, activates_at) = (&key.purpose, &key.id, key.activates_at.to_string());
    tracing::info!(target: "jeton::audit", event = "key_created", purpose, %kid, activates_at);
}

/// The keys that are needed now or later: signing keys that are not gone, refresh keys whose tokens may still be
/// presented, the throttle key, the key of second factors, data keys that are not retired, and keys for purposes that
/// only a later version knows.
pub(super) fn in_use<'a>(
    stored: &'a [StoredKey],
    schedule: &Schedule,
    now: Timestamp,
) -> Vec<&'a StoredKey> {
    let of = |purpose| stored.iter().filter(is_for(purpose));
    let all: Vec<KeyDates> = of(KeyPurpose::Signing).map(dates).collect();
    let lives = key_lifecycle::lives(&all, now, schedule, None);
    let signing = of(KeyPurpose::Signing).zip(lives);
    let signing = signing.filter(|(_, life)| life.state != KeyState::Gone).map(|(key, _)| key);
    let all: Vec<KeyDates> = of(KeyPurpose::Refresh).map(dates).collect();
    let refresh = of(KeyPurpose::Refresh)
        .filter(|key| refresh_keys::is_of_use(dates(key), all.iter().copied(), now));
    let others = stored.iter().filter(|key| {
        let purpose = KeyPurpose::find(&key.purpose);
        purpose.is_none_or(|purpose| purpose == KeyPurpose::Data) && key.revoked_at.is_none()
    });
    let symmetric = find_throttle_key(stored).into_iter().chain(find_second_factor_key(stored));
    signing.chain(refresh).chain(symmetric).chain(others).collect()
}

/// Checks that these master keys open a key, or for an unknown purpose that the key names one of them.
pub(super) fn opens(key: &StoredKey, masters: &MasterKeys) -> Result<(), KeyError> {
    match KeyPurpose::find(&key.purpose) {
        Some(purpose) => Ok(masters.open(purpose, &key.id, &key.sealed_key).map(drop)?),
        None if sealing::sealed_under(&key.sealed_key).is_some_and(|id| masters.has(&id)) => Ok(()),
        None => Err(KeyError::new(format!(
            "the {} key {} is sealed under a master key that is not given: name it as a second \
             --master-key-file",
            key.purpose, key.id
        ))),
    }
}

/// The error of a key that can be opened but not used.
fn unusable(stored: &StoredKey, error: impl Error + Send + Sync + 'static) -> KeyError {
    let sentence = format!("the {} key {} cannot be used: {error}", stored.purpose, stored.id);
    KeyError::because(sentence, error)
}

/// Opens a signing key, and checks that it can sign and verify.
pub(super) fn open_signing_key(
    stored: &StoredKey,
    masters: &MasterKeys,
) -> Result<SigningKey, KeyError> {
    let secret = masters.open(KeyPurpose::Signing, &stored.id, &stored.sealed_key)?;
    let key = SigningKey::from_secret(&secret).map_err(|error| unusable(stored, error))?;
    if key.public().kid != stored.id {
        return Err(KeyError::new(format!(
            "the signing key {} is another key than its name says",
            stored.id
        )));
    }
    Ok(key)
}

/// Compares the public half in the database with the private key, or with the key's name (its thumbprint) if it cannot
/// be opened. Nothing here uses that public half. But other programs may read it, and a difference shows that somebody
/// wrote to the database.
pub(super) fn check_public_half(
    stored: &StoredKey,
    derived: Option<&PublicJwk>,
) -> Result<(), KeyError> {
    let stored_half = serde_json::from_str::<PublicJwk>(&stored.public_jwk).ok();
    let is_right = stored_half.is_some_and(|half| match derived {
        Some(derived) => half == *derived,
        None => half.kid == stored.id && half.is_named_by_its_thumbprint(),
    });
    if is_right {
        return Ok(());
    }
    Err(KeyError::new(format!(
        "the public half in the database is not that of the key {}: somebody replaced it. Look who can write the \
         database; then put it back, from a backup or the JWKS, or withdraw the key with `jeton key revoke`",
        stored.id
    )))
}

/// The keys not sealed under the first master key: the name, how it is sealed, and how it would be under that one.
pub(super) fn seal_anew(
    stored: &[StoredKey],
    masters: &MasterKeys,
) -> Result<Vec<(KeyId, String, String)>, KeyError> {
    let is_other = |key: &&StoredKey| {
        sealing::sealed_under(&key.sealed_key).as_deref() != Some(masters.first())
    };
    let seal = |key: &StoredKey| {
        let purpose = KeyPurpose::find(&key.purpose).ok_or_else(|| {
            KeyError::new(format!(
                "the key {} is for something that only a later version knows",
                key.id
            ))
        })?;
        let secret = masters.open(purpose, &key.id, &key.sealed_key)?;
        let sealed = masters.seal(purpose, &key.id, &secret);
        Ok((key.id.clone(), key.sealed_key.clone(), sealed))
    };
    stored.iter().filter(is_other).map(seal).collect()
}

pub(super) fn open_refresh_key(
    stored: &StoredKey,
    masters: &MasterKeys,
) -> Result<RefreshKey, KeyError> {
    let secret = masters.open(KeyPurpose::Refresh, &stored.id, &stored.sealed_key)?;
    RefreshKey::from_secret(stored.id.clone(), dates(stored), &secret)
        .map_err(|error| unusable(stored, error))
}

/// The throttle key: the newest one that was not revoked.
pub(crate) fn find_throttle_key(stored: &[StoredKey]) -> Option<&StoredKey> {
    let mut keys = stored.iter().filter(is_for(KeyPurpose::Throttle));
    keys.rfind(|key| key.revoked_at.is_none())
}

pub(crate) fn open_throttle_key(
    stored: &StoredKey,
    masters: &MasterKeys,
) -> Result<ThrottleKey, KeyError> {
    let secret = masters.open(KeyPurpose::Throttle, &stored.id, &stored.sealed_key)?;
    ThrottleKey::from_secret(stored.id.clone(), &secret).map_err(|error| unusable(stored, error))
}

pub(crate) fn open_data_key(stored: &StoredKey, masters: &MasterKeys) -> Result<DataKey, KeyError> {
    let secret = masters.open(KeyPurpose::Data, &stored.id, &stored.sealed_key)?;
    DataKey::from_secret(stored.id.clone(), &secret).map_err(|error| unusable(stored, error))
}

/// The key of second factors: the newest one that was not revoked. There is none before it is needed.
pub(super) fn find_second_factor_key(stored: &[StoredKey]) -> Option<&StoredKey> {
    let mut keys = stored.iter().filter(is_for(KeyPurpose::SecondFactor));
    keys.rfind(|key| key.revoked_at.is_none())
}

pub(super) fn open_second_factor_key(
    stored: &StoredKey,
    masters: &MasterKeys,
) -> Result<SecondFactorKey, KeyError> {
    let secret = masters.open(KeyPurpose::SecondFactor, &stored.id, &stored.sealed_key)?;
    SecondFactorKey::from_secret(stored.id.clone(), &secret)
        .map_err(|error| unusable(stored, error))
}

pub(super) fn next_generation(stored: &[StoredKey], purpose: KeyPurpose) -> i64 {
    stored.iter().filter(is_for(purpose)).map(|key| key.generation).max().unwrap_or(0) + 1
}
