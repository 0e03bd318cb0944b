//! The signing keys of this replica: loaded from the store, opened with the master key, made once
//! if there are none.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::{Clock, Seconds};
use crate::crypto::key_lifecycle::KeyDates;
use crate::crypto::key_ring::{DatedKey, KeyRing};
use crate::crypto::sealing::{self, KeyPurpose, MasterKeys};
use crate::crypto::signing::{self, SigningKey};
use crate::store::keys::{AddKey, CountKeys, ListKeys, StoredKey};
use crate::store::{Store, StoreError};

/// What decides about keys.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The files of the master keys.
    pub master_key_files: Vec<PathBuf>,
    /// The size of new keys.
    pub bits: u32,
    /// How long verifiers may cache the key set.
    pub jwks_max_age: Seconds,
}

/// The keys in hand. They stay in hand when the database is gone.
#[derive(Debug)]
pub struct SigningKeys {
    store: Store,
    clock: Clock,
    masters: MasterKeys,
    jwks_max_age: Seconds,
    in_hand: ArcSwap<InHand>,
}

#[derive(Debug)]
struct InHand {
    keys: Vec<DatedKey>,
    ring: Arc<KeyRing>,
}

impl SigningKeys {
    /// Loads the keys, after making the first if there is none. Every key is opened, and signs and
    /// verifies once.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn load(store: Store, clock: Clock, settings: &KeySettings) -> Result<Self, String> {
        let say = |error: StoreError| error.to_string();
        let anything_sealed = store.perform(CountKeys).await.map_err(say)? > 0;
        let purpose = KeyPurpose::Signing.as_str();
        let stored = store.perform(ListKeys { purpose }).await.map_err(say)?;
        let masters = MasterKeys::load(&settings.master_key_files, anything_sealed)
            .map_err(|problem| name_master_key(problem, &stored))?;
        if stored.is_empty() {
            make_first(&store, &clock, &masters, settings.bits).await?;
        }
        let keys = open_all(&store, &masters, &[]).await?;
        if keys.iter().all(|key| key.dates.revoked_at.is_some()) {
            return Err("every signing key in the database is revoked".to_owned());
        }
        let jwks_max_age = settings.jwks_max_age;
        let ring = Arc::new(KeyRing::new(&keys, clock.now(), jwks_max_age));
        let in_hand = ArcSwap::from_pointee(InHand { keys, ring });
        Ok(Self { store, clock, masters, jwks_max_age, in_hand })
    }

    /// Opens the keys that are stored, makes none, and says how many there are.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn try_open(store: &Store, settings: &KeySettings) -> Result<usize, String> {
        let purpose = KeyPurpose::Signing.as_str();
        let stored =
            store.perform(ListKeys { purpose }).await.map_err(|error| error.to_string())?;
        if stored.is_empty() {
            return Ok(0);
        }
        let masters = MasterKeys::load(&settings.master_key_files, true)
            .map_err(|problem| name_master_key(problem, &stored))?;
        open_all(store, &masters, &[]).await.map(|keys| keys.len())
    }

    /// The keys as they stand.
    #[must_use]
    pub fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.in_hand.load().ring)
    }

    /// Looks at the store again. On failure the keys in hand stay.
    ///
    /// # Errors
    /// A sentence for the log.
    pub async fn reload(&self) -> Result<(), String> {
        let keys = open_all(&self.store, &self.masters, &self.in_hand.load().keys).await?;
        let ring = Arc::new(KeyRing::new(&keys, self.clock.now(), self.jwks_max_age));
        self.in_hand.store(Arc::new(InHand { keys, ring }));
        Ok(())
    }
}

/// Makes the first key, which signs at once. Of replicas that do this together one wins.
async fn make_first(
    store: &Store,
    clock: &Clock,
    masters: &MasterKeys,
    bits: u32,
) -> Result<(), String> {
    let new = tokio::task::spawn_blocking(move || signing::generate(bits))
        .await
        .map_err(|error| format!("cannot make a signing key: {error}"))??;
    let now = clock.now();
    let key = StoredKey {
        id: new.public.kid.clone(),
        purpose: KeyPurpose::Signing.as_str(),
        generation: 1,
        public_jwk: serde_json::to_string(&new.public).expect("strings are JSON"),
        sealed_key: masters.seal(KeyPurpose::Signing, &new.public.kid, &new.secret),
        created_at: now,
        activates_at: now,
        revoked_at: None,
    };
    let id = key.id.clone();
    let won = store.perform(AddKey { key }).await.map_err(|error| error.to_string())?;
    if won {
        tracing::info!(target: "jeton::audit", event = "signing_key_created", kid = %id, bits);
    }
    Ok(())
}

/// Adds to a problem with the master key which one is needed.
fn name_master_key(problem: String, stored: &[StoredKey]) -> String {
    match stored.first().and_then(|key| sealing::sealed_under(&key.sealed_key)) {
        Some(id) => format!("{problem}; the key that is needed is the master key {id}"),
        None => problem,
    }
}

/// Opens every key that is stored, but for those in hand already.
async fn open_all(
    store: &Store,
    masters: &MasterKeys,
    in_hand: &[DatedKey],
) -> Result<Vec<DatedKey>, String> {
    let purpose = KeyPurpose::Signing.as_str();
    let stored = store.perform(ListKeys { purpose }).await.map_err(|error| error.to_string())?;
    let dated = |stored: &StoredKey| {
        let known = in_hand.iter().find(|known| known.key.public().kid == stored.id);
        let key = match known {
            Some(known) => Arc::clone(&known.key),
            None => Arc::new(open(stored, masters)?),
        };
        let dates = KeyDates {
            created_at: stored.created_at,
            activates_at: stored.activates_at,
            revoked_at: stored.revoked_at,
        };
        Ok(DatedKey { key, dates })
    };
    stored.iter().map(dated).collect()
}

fn open(stored: &StoredKey, masters: &MasterKeys) -> Result<SigningKey, String> {
    let secret = masters.open(KeyPurpose::Signing, &stored.id, &stored.sealed_key)?;
    let key = SigningKey::from_secret(&secret)
        .map_err(|error| format!("the signing key {} cannot be used: {error}", stored.id))?;
    if key.public().kid != stored.id {
        return Err(format!("the signing key {} is another key than its name says", stored.id));
    }
    Ok(key)
}
