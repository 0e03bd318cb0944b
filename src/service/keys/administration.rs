//! What operators do with keys, and what verifiers notice of it.
//!
//! Nothing here talks to a running service. Commands change rows, and every replica reads them within seconds.

use serde::Serialize;

use super::error::KeyError;
use super::key_store::{
    KeyStore, NewKey, REFRESH_KEY_LEAD, check_public_half, dates, is_for, next_generation,
    open_signing_key, opens, seal_anew,
};
use crate::replicas::{self, Publication};
use jeton_crypto::imported_key::{self, ImportError};
use jeton_crypto::key_lifecycle::{self, KeyDates, KeyState, Life, Schedule};
use jeton_crypto::sealing::{self, KeyPurpose, MasterKeys};
use jeton_crypto::signing::{NewSigningKey, PublicJwk, SigningKey};
use jeton_oauth::{KeyId, Seconds, Timestamp};
use jeton_store::keys::{ActivateKey, ResealKeys, StoredKey};

/// A key in a listing.
#[derive(Clone, Debug, Serialize)]
pub struct ListedKey {
    /// Its name.
    pub kid: KeyId,
    /// The state of its life cycle, as a word.
    pub state: &'static str,
    /// When it was made; a signing key is published from then on.
    pub created_at: Timestamp,
    /// When it begins to sign, or to derive.
    pub activates_at: Timestamp,
    /// When its successor takes over, if there is one.
    pub retires_at: Option<Timestamp>,
    /// When it is no longer used, if that is known.
    pub gone_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The master key that it is sealed under.
    pub sealed_under: Option<String>,
}

/// What a rotation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Publishes a new key, which signs once every verifier can know it.
    Announced {
        /// When it begins to sign.
        signs_at: Timestamp,
    },
    /// Lets the key that is already published sign now.
    Promoted {
        /// The key.
        kid: KeyId,
        /// How long verifiers with a cached key set may lack it.
        unknown_for: Seconds,
    },
    /// Makes a new key that signs now, although no verifier knows it.
    Sudden {
        /// How long verifiers with a cached key set lack it.
        unknown_for: Seconds,
    },
}

/// Administers the keys of a database.
#[derive(Debug)]
pub struct KeyAdministration {
    /// Stores the keys.
    pub key_store: KeyStore,
    /// The time of the command.
    pub now: Timestamp,
}

pub(super) struct Known {
    pub(super) stored: StoredKey,
    dates: KeyDates,
    pub(super) life: Life,
}

impl KeyAdministration {
    /// Takes over the settings of the running replicas, and returns them; `None` if there are none.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub async fn go_by_replicas(&mut self) -> Result<Option<Publication>, KeyError> {
        let publication = replicas::publication(&self.key_store.store, self.now).await?;
        if let Some(Publication { jwks_max_age, key_rotation }) = publication {
            self.key_store.schedule = Schedule::new(key_rotation, jwks_max_age);
        }
        Ok(publication)
    }

    /// Lists the signing keys, oldest first.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub async fn list(&self) -> Result<Vec<ListedKey>, KeyError> {
        let known = self.known(&self.key_store.list().await?);
        let listed = |key: Known| ListedKey {
            kid: key.stored.id,
            state: if key.dates.revoked_at.is_some() { "revoked" } else { key.life.state.as_str() },
            created_at: key.dates.created_at,
            activates_at: key.dates.activates_at,
            retires_at: key.life.retires_at,
            gone_at: key.life.gone_at,
            revoked_at: key.dates.revoked_at,
            sealed_under: sealing::sealed_under(&key.stored.sealed_key),
        };
        Ok(known.into_iter().map(listed).collect())
    }

    /// Lists the refresh keys, oldest first.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub async fn list_refresh(&self) -> Result<Vec<ListedKey>, KeyError> {
        let stored = self.key_store.list().await?;
        let keys: Vec<&StoredKey> = stored.iter().filter(is_for(KeyPurpose::Refresh)).collect();
        let live = || keys.iter().filter(|key| key.revoked_at.is_none());
        let derives = live().map(|key| key.activates_at).filter(|at| *at <= self.now).max();
        let listed = |key: &&StoredKey| {
            let later = live().map(|other| other.activates_at).filter(|at| *at > key.activates_at);
            let state = match key.revoked_at {
                Some(_) => "revoked",
                None if Some(key.activates_at) == derives => "deriving",
                None if key.activates_at > self.now => "waiting",
                None => KeyState::Verifying.as_str(),
            };
            ListedKey {
                kid: key.id.clone(),
                state,
                created_at: key.created_at,
                activates_at: key.activates_at,
                retires_at: later.min(),
                gone_at: key.revoked_at,
                revoked_at: key.revoked_at,
                sealed_under: sealing::sealed_under(&key.sealed_key),
            }
        };
        Ok(keys.iter().map(listed).collect())
    }

    /// The public keys of the key set, or of one key in any state. They are computed from the private keys, because
    /// only the master key proves that a key is this service's.
    ///
    /// # Errors
    /// A sentence if there is no such key, one cannot be opened, or its public half in the database is another.
    pub async fn public(&self, kid: Option<&KeyId>) -> Result<Vec<PublicJwk>, KeyError> {
        let stored = self.key_store.list().await?;
        let known = self.known(&stored);
        let wanted = |key: &&Known| match kid {
            Some(kid) => key.stored.id == *kid,
            None => key.life.state != KeyState::Gone,
        };
        let wanted: Vec<&Known> = known.iter().filter(wanted).collect();
        match kid {
            Some(kid) if wanted.is_empty() => return Err(unknown(kid)),
            _ if wanted.is_empty() => return Ok(Vec::new()),
            _ => {}
        }
        let masters = self.key_store.masters(&stored)?;
        let derive = |key: &&Known| {
            let opened = open_signing_key(&key.stored, &masters)?;
            check_public_half(&key.stored, Some(opened.public()))?;
            Ok(opened.public().clone())
        };
        let derived: Result<_, KeyError> = wanted.iter().map(derive).collect();
        derived.map_err(|error| error.and("nothing was exported"))
    }

    /// What is wrong with the public halves in the database, as far as the given master keys can tell.
    ///
    /// # Errors
    /// A sentence if the database cannot be read.
    pub async fn replaced_public_halves(&self) -> Result<Vec<String>, KeyError> {
        let stored = self.key_store.list().await?;
        if stored.is_empty() {
            return Ok(Vec::new());
        }
        let masters = self.key_store.masters(&stored).ok();
        let check = |key: &StoredKey| {
            let opened = masters.as_ref().and_then(|masters| open_signing_key(key, masters).ok());
            let checked = check_public_half(key, opened.as_ref().map(SigningKey::public));
            checked.err().map(|error| error.to_string())
        };
        Ok(stored.iter().filter(is_for(KeyPurpose::Signing)).filter_map(check).collect())
    }

    /// Plans a rotation. `replaced` is the signing key if it is to be revoked.
    ///
    /// # Errors
    /// A sentence if no rotation is possible.
    pub async fn plan_rotation(
        &self,
        emergency: bool,
        replaced: Option<&KeyId>,
    ) -> Result<Rotation, KeyError> {
        let stored = self.key_store.list().await?;
        let masters = self.masters_to_seal(&stored, replaced)?;
        let known = self.known(&stored);
        let max_age = self.key_store.schedule.jwks_max_age;
        let horizon = self.key_store.schedule.horizon(self.now);
        // A key that these master keys cannot open could not sign.
        let is_next = |key: &&Known| {
            key.life.state == KeyState::Published
                && key.dates.activates_at <= horizon
                && masters.as_ref().is_some_and(|masters| opens(&key.stored, masters).is_ok())
        };
        let next = known.iter().find(is_next);
        match next {
            Some(next) if emergency => {
                let known_for = self.now.since(next.dates.created_at);
                let kid = next.stored.id.clone();
                Ok(Rotation::Promoted { kid, unknown_for: max_age.since(known_for) })
            }
            Some(next) => Err(KeyError::conflict(format!(
                "there is nothing to do: the next key {} is published already and signs by itself from {} on. \
                 `jeton key rotate --emergency` lets it sign now, although verifiers may not know it yet; nothing was \
                 changed",
                next.stored.id, next.dates.activates_at
            ))),
            None if emergency => Ok(Rotation::Sudden { unknown_for: max_age }),
            None => {
                Ok(Rotation::Announced { signs_at: self.now.after(self.key_store.schedule.lead) })
            }
        }
    }

    /// Carries out a plan, and returns the key that signs next or now.
    ///
    /// # Errors
    /// A sentence that says what is wrong; then nothing was changed.
    pub async fn rotate(
        &self,
        plan: &Rotation,
        replaced: Option<&KeyId>,
    ) -> Result<KeyId, KeyError> {
        match plan {
            Rotation::Promoted { kid, .. } => {
                let now = unlike_others(&self.key_store.list().await?, self.now);
                let activate = ActivateKey { id: kid.clone(), now };
                if !self.key_store.store.perform(activate).await? {
                    return Err(KeyError::conflict(format!(
                        "the key {kid} was changed meanwhile: look again"
                    )));
                }
                Ok(kid.clone())
            }
            Rotation::Announced { signs_at } => self.make(*signs_at, replaced).await,
            Rotation::Sudden { .. } => self.make(self.now, replaced).await,
        }
    }

    async fn make(
        &self,
        activates_at: Timestamp,
        replaced: Option<&KeyId>,
    ) -> Result<KeyId, KeyError> {
        let stored = self.key_store.list().await?;
        let generation = next_generation(&stored, KeyPurpose::Signing);
        let dates = (self.now, unlike_others(&stored, activates_at));
        let made = self.key_store.make_signing_key(generation, replaced, || dates).await?;
        made.ok_or_else(another_was_first)
    }

    /// Checks that the master keys open what is sealed, so that one more key may be sealed.
    ///
    /// # Errors
    /// A sentence that names the key that they do not open.
    pub async fn check_masters(&self) -> Result<(), KeyError> {
        self.masters_to_seal(&self.key_store.list().await?, None).map(|_| ())
    }

    /// The master keys to seal one more key. `None` if nothing is sealed yet, so that there may be none.
    fn masters_to_seal(
        &self,
        stored: &[StoredKey],
        replaced: Option<&KeyId>,
    ) -> Result<Option<MasterKeys>, KeyError> {
        if stored.is_empty() {
            return Ok(None);
        }
        self.key_store.masters_to_seal(stored, replaced, self.now).map(Some)
    }

    /// Adds a key that was made elsewhere. It is published now and signs once every verifier can know it. Then its
    /// predecessor retires as after any rotation.
    ///
    /// # Errors
    /// A sentence that says what is wrong; then nothing was changed.
    pub async fn import(&self, key: NewSigningKey) -> Result<(KeyId, Timestamp), KeyError> {
        let stored = self.key_store.list().await?;
        let kid = &key.public.kid;
        if stored.iter().any(|own| own.id == *kid) {
            return Err(KeyError::conflict(format!(
                "the key {kid} is there already: nothing was changed"
            )));
        }
        let generation = next_generation(&stored, KeyPurpose::Signing);
        let is_first = generation == 1;
        let lead = if is_first { Seconds::default() } else { self.key_store.schedule.lead };
        let signs_at = unlike_others(&stored, self.now.after(lead));
        let new = NewKey::signing(key);
        let added = self.key_store.add(new, generation, None, (self.now, signs_at)).await?;
        Ok((added.ok_or_else(another_was_first)?, signs_at))
    }

    /// Adds a refresh key, which all replicas use from a minute later on. Returns its name and that date. The previous
    /// key still verifies the tokens that it derived.
    ///
    /// # Errors
    /// A sentence that says what is wrong; then nothing was changed.
    pub async fn rotate_refresh(&self) -> Result<(KeyId, Timestamp), KeyError> {
        let activates_at = self.now.after(REFRESH_KEY_LEAD);
        Ok((self.make_refresh_key(activates_at, None).await?, activates_at))
    }

    pub(super) async fn make_refresh_key(
        &self,
        activates_at: Timestamp,
        replaced: Option<&KeyId>,
    ) -> Result<KeyId, KeyError> {
        let stored = self.key_store.list().await?;
        let purpose = KeyPurpose::Refresh;
        let generation = next_generation(&stored, purpose);
        let dates = (self.now, activates_at);
        let made = self.key_store.make_symmetric_key(purpose, generation, replaced, dates).await?;
        made.ok_or_else(another_was_first)
    }

    /// Seals every key under the first master key, all or none. That one is made if only others exist. Returns how many
    /// keys were sealed under another one, and the name of the first. Keys that replicas have in memory stay in use.
    ///
    /// # Errors
    /// A sentence that says what is wrong; then nothing was changed.
    pub async fn rewrap(&self) -> Result<(usize, String), KeyError> {
        let mut total = 0;
        loop {
            let stored = self.key_store.list().await?;
            let masters = self.key_store.masters_to_seal_anew(&stored)?;
            let keys = seal_anew(&stored, &masters)?;
            let (count, master) = (keys.len(), masters.first().to_owned());
            // Another replica may have sealed a key under another master key meanwhile.
            if count == 0 {
                return Ok((total, master));
            }
            let reseal = ResealKeys { keys };
            self.key_store.store.perform(reseal).await?;
            total += count;
        }
    }

    pub(super) fn known(&self, stored: &[StoredKey]) -> Vec<Known> {
        let keys: Vec<&StoredKey> = stored.iter().filter(is_for(KeyPurpose::Signing)).collect();
        let all: Vec<KeyDates> = keys.iter().map(|key| dates(key)).collect();
        let lives = key_lifecycle::lives(&all, self.now, &self.key_store.schedule, None);
        let pairs = keys.into_iter().zip(all).zip(lives);
        pairs.map(|((stored, dates), life)| Known { stored: stored.clone(), dates, life }).collect()
    }
}

/// Reads a private key for [`KeyAdministration::import`].
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn read_private_key(text: &[u8]) -> Result<NewSigningKey, ImportError> {
    imported_key::read(text)
}

/// The first second from this one on at which no other signing key begins to sign.
fn unlike_others(stored: &[StoredKey], mut activates_at: Timestamp) -> Timestamp {
    let signing = || stored.iter().filter(is_for(KeyPurpose::Signing));
    while signing().any(|key| key.activates_at == activates_at) {
        activates_at = activates_at.after(Seconds::new(1));
    }
    activates_at
}

pub(super) fn unknown(kid: &KeyId) -> KeyError {
    KeyError::not_found(format!("there is no key {kid}: see `jeton key list`"))
}

pub(super) fn another_was_first() -> KeyError {
    KeyError::conflict(
        "another key was made at the same moment: nothing was changed here, see `jeton key list`",
    )
}
