//! The keys of this replica: loaded from the store, opened with the master key, made once if there are
//! none. One kind signs access tokens, the other derives refresh tokens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use super::Refusal;
use crate::clock::{Clock, Seconds, Timestamp};
use crate::crypto::key_lifecycle::KeyDates;
use crate::crypto::key_ring::{DatedKey, KeyRing};
use crate::crypto::refresh_keys::{self, RefreshKey, RefreshKeys, VerifiedRefreshToken};
use crate::crypto::sealing::{self, KeyPurpose, MasterKeys};
use crate::crypto::signing::{self, SigningKey};
use crate::oauth::access_token::AccessTokenClaims;
use crate::oauth::refresh_token::RefreshTokenClaims;
use crate::oauth::{Issuer, KeyId};
use crate::secret::Secret;
use crate::store::keys::{AddKey, ListKeys, StoredKey};
use crate::store::{Store, StoreError};

/// How long a new refresh key waits before it derives tokens, so that every replica knows it by then.
const REFRESH_KEY_LEAD: Seconds = Seconds::new(60);

/// A token that this service made.
#[derive(Debug)]
pub enum GenuineToken {
    /// An access token that has not expired.
    Access(Box<AccessTokenClaims>),
    /// A refresh token of any generation.
    Refresh(RefreshTokenClaims),
}

/// What decides about keys.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The files of the master keys.
    pub master_key_files: Vec<PathBuf>,
    /// The size of new signing keys.
    pub bits: u32,
    /// How long verifiers may cache the key set.
    pub jwks_max_age: Seconds,
}

/// The keys in hand. They stay in hand when the database is gone.
#[derive(Debug)]
pub struct Keys {
    store: Store,
    clock: Clock,
    masters: MasterKeys,
    jwks_max_age: Seconds,
    in_hand: ArcSwap<InHand>,
}

#[derive(Debug)]
struct InHand {
    opened: Opened,
    ring: Arc<KeyRing>,
    refresh: Arc<RefreshKeys>,
    /// When the store was last asked for them.
    loaded_at: Instant,
}

/// Keys that were opened.
#[derive(Debug, Default)]
struct Opened {
    signing: Vec<DatedKey>,
    refresh: Vec<RefreshKey>,
}

impl Keys {
    /// Loads the keys, after making the first of each kind if there is none. Every signing key signs
    /// and verifies once.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn load(store: Store, clock: Clock, settings: &KeySettings) -> Result<Self, String> {
        let stored = list(&store).await?;
        let masters = load_masters(settings.master_key_files.as_slice(), &stored)?;
        if !stored.iter().any(is_for(KeyPurpose::Signing)) {
            make_first_signing_key(&store, &clock, &masters, settings.bits).await?;
        }
        if !stored.iter().any(is_for(KeyPurpose::Refresh)) {
            let now = clock.now();
            add_refresh_key(&store, &masters, 1, now, now).await?;
        }
        let opened = Opened::open(&list(&store).await?, &masters, &Opened::default())?;
        if opened.signing.iter().all(|key| key.dates.revoked_at.is_some()) {
            return Err("every signing key in the database is revoked".to_owned());
        }
        let jwks_max_age = settings.jwks_max_age;
        let in_hand = ArcSwap::from_pointee(InHand::new(opened, clock.now(), jwks_max_age));
        Ok(Self { store, clock, masters, jwks_max_age, in_hand })
    }

    /// Opens the keys that are stored, makes none, and says how many there are.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn try_open(store: &Store, settings: &KeySettings) -> Result<usize, String> {
        let stored = list(store).await?;
        if stored.is_empty() {
            return Ok(0);
        }
        let masters = load_masters(&settings.master_key_files, &stored)?;
        let opened = Opened::open(&stored, &masters, &Opened::default())?;
        Ok(opened.signing.len() + opened.refresh.len())
    }

    /// The signing keys as they stand.
    #[must_use]
    pub fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.in_hand.load().ring)
    }

    /// Derives the refresh token of a session that got to this generation at this moment.
    ///
    /// # Errors
    /// [`Refusal::Fault`] if there is no key.
    pub fn derive_refresh_token(
        &self,
        claims: &RefreshTokenClaims,
        refreshed_at: Timestamp,
    ) -> Result<Secret, Refusal> {
        self.in_hand.load().refresh.derive(claims, refreshed_at).map_err(Refusal::Fault)
    }

    /// Verifies a presented refresh token, without asking the database; `None` if nobody made it.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if it names a key that is not in hand, and the store could not be
    /// asked for so long that the key may be a new one.
    pub fn verify_refresh_token(
        &self,
        token: &Secret,
    ) -> Result<Option<RefreshTokenClaims>, Refusal> {
        let in_hand = self.in_hand.load();
        let age = Seconds::new(in_hand.loaded_at.elapsed().as_secs().try_into().unwrap_or(0));
        match in_hand.refresh.verify(token) {
            VerifiedRefreshToken::Genuine(claims) => Ok(Some(claims)),
            VerifiedRefreshToken::OfUnknownKey if age >= REFRESH_KEY_LEAD => {
                Err(Refusal::Unavailable {
                    retry_after: Seconds::new(5),
                    detail: format!(
                        "a refresh token of an unknown key, and the keys were last read {age} ago"
                    ),
                })
            }
            VerifiedRefreshToken::OfUnknownKey | VerifiedRefreshToken::Forged => Ok(None),
        }
    }

    /// Verifies a token of either kind, without asking the database; `None` if it is none.
    ///
    /// # Errors
    /// As [`Keys::verify_refresh_token`].
    pub fn recognise(
        &self,
        token: &Secret,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<Option<GenuineToken>, Refusal> {
        // Only a JWS has dots.
        if token.expose().contains('.') {
            let claims = self.ring().verify(token.expose(), issuer, now);
            return Ok(claims.map(|claims| GenuineToken::Access(Box::new(claims))));
        }
        Ok(self.verify_refresh_token(token)?.map(GenuineToken::Refresh))
    }

    /// Looks at the store again. On failure the keys in hand stay.
    ///
    /// # Errors
    /// A sentence for the log.
    pub async fn reload(&self) -> Result<(), String> {
        let stored = list(&self.store).await?;
        let opened = Opened::open(&stored, &self.masters, &self.in_hand.load().opened)?;
        let in_hand = InHand::new(opened, self.clock.now(), self.jwks_max_age);
        self.in_hand.store(Arc::new(in_hand));
        Ok(())
    }
}

/// Adds a refresh key that all replicas go over to a minute later, and returns its name and when that
/// is. The one before goes on verifying what it derived.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn rotate_refresh_key(
    store: &Store,
    now: Timestamp,
    master_key_files: &[PathBuf],
) -> Result<(KeyId, Timestamp), String> {
    let stored = list(store).await?;
    let masters = load_masters(master_key_files, &stored)?;
    let of_refresh = stored.iter().filter(|key| is_for(KeyPurpose::Refresh)(key));
    let generation = of_refresh.map(|key| key.generation).max().unwrap_or(0) + 1;
    let activates_at = now.after(REFRESH_KEY_LEAD);
    let id = add_refresh_key(store, &masters, generation, now, activates_at).await?;
    let id = id.ok_or("another refresh key was made at the same moment: see whether it will do")?;
    Ok((id, activates_at))
}

impl InHand {
    fn new(opened: Opened, now: Timestamp, jwks_max_age: Seconds) -> Self {
        Self {
            ring: Arc::new(KeyRing::new(&opened.signing, now, jwks_max_age)),
            refresh: Arc::new(RefreshKeys::new(opened.refresh.iter().cloned(), now)),
            opened,
            loaded_at: Instant::now(),
        }
    }
}

impl Opened {
    /// Opens every key that is stored, but for those that were opened before. Kinds of keys that
    /// only a later version knows are left alone.
    fn open(stored: &[StoredKey], masters: &MasterKeys, before: &Self) -> Result<Self, String> {
        let mut opened = Self::default();
        for row in stored {
            let dates = KeyDates {
                created_at: row.created_at,
                activates_at: row.activates_at,
                revoked_at: row.revoked_at,
            };
            if is_for(KeyPurpose::Signing)(row) {
                let known = before.signing.iter().find(|known| known.key.public().kid == row.id);
                let key = match known {
                    Some(known) => Arc::clone(&known.key),
                    None => Arc::new(open_signing_key(row, masters)?),
                };
                opened.signing.push(DatedKey { key, dates });
            } else if is_for(KeyPurpose::Refresh)(row) {
                let known = before.refresh.iter().find(|known| *known.id() == row.id);
                opened.refresh.push(match known {
                    Some(known) => known.clone().dated(dates),
                    None => open_refresh_key(row, dates, masters)?,
                });
            }
        }
        Ok(opened)
    }
}

fn open_signing_key(stored: &StoredKey, masters: &MasterKeys) -> Result<SigningKey, String> {
    let secret = masters.open(KeyPurpose::Signing, &stored.id, &stored.sealed_key)?;
    let key = SigningKey::from_secret(&secret)
        .map_err(|error| format!("the signing key {} cannot be used: {error}", stored.id))?;
    if key.public().kid != stored.id {
        return Err(format!("the signing key {} is another key than its name says", stored.id));
    }
    Ok(key)
}

fn open_refresh_key(
    stored: &StoredKey,
    dates: KeyDates,
    masters: &MasterKeys,
) -> Result<RefreshKey, String> {
    let secret = masters.open(KeyPurpose::Refresh, &stored.id, &stored.sealed_key)?;
    RefreshKey::from_secret(stored.id.clone(), dates, &secret)
        .map_err(|error| format!("the refresh key {} cannot be used: {error}", stored.id))
}

fn is_for(purpose: KeyPurpose) -> impl Fn(&StoredKey) -> bool {
    move |key| key.purpose == purpose.as_str()
}

async fn list(store: &Store) -> Result<Vec<StoredKey>, String> {
    store.perform(ListKeys).await.map_err(|error| error.to_string())
}

/// Reads the master keys; where something is sealed already, says which one is needed.
fn load_masters(files: &[PathBuf], stored: &[StoredKey]) -> Result<MasterKeys, String> {
    MasterKeys::load(files, !stored.is_empty()).map_err(|problem| {
        match stored.first().and_then(|key| sealing::sealed_under(&key.sealed_key)) {
            Some(id) => format!("{problem}; the key that is needed is the master key {id}"),
            None => problem,
        }
    })
}

/// Makes the first signing key, which signs at once. Of replicas that do this together one wins.
async fn make_first_signing_key(
    store: &Store,
    clock: &Clock,
    masters: &MasterKeys,
    bits: u32,
) -> Result<(), String> {
    let new = tokio::task::spawn_blocking(move || signing::generate(bits))
        .await
        .map_err(|error| format!("cannot make a signing key: {error}"))??;
    let now = clock.now();
    let public_jwk = serde_json::to_string(&new.public).expect("strings are JSON");
    let new = NewKey {
        purpose: KeyPurpose::Signing,
        id: new.public.kid,
        public_jwk,
        secret: new.secret,
        generation: 1,
        created_at: now,
        activates_at: now,
    };
    new.add(store, masters).await.map(|_| ())
}

/// Makes a refresh key; `None` if another replica was first.
async fn add_refresh_key(
    store: &Store,
    masters: &MasterKeys,
    generation: i64,
    created_at: Timestamp,
    activates_at: Timestamp,
) -> Result<Option<KeyId>, String> {
    let (id, secret) = refresh_keys::generate();
    let purpose = KeyPurpose::Refresh;
    let public_jwk = String::new();
    let new = NewKey { purpose, id, public_jwk, secret, generation, created_at, activates_at };
    new.add(store, masters).await
}

/// A key that was just made.
struct NewKey {
    purpose: KeyPurpose,
    id: KeyId,
    public_jwk: String,
    secret: Zeroizing<Vec<u8>>,
    generation: i64,
    created_at: Timestamp,
    activates_at: Timestamp,
}

impl NewKey {
    /// Seals and stores it; `None` if another key of its generation was first.
    async fn add(self, store: &Store, masters: &MasterKeys) -> Result<Option<KeyId>, String> {
        let key = StoredKey {
            sealed_key: masters.seal(self.purpose, &self.id, &self.secret),
            id: self.id.clone(),
            purpose: self.purpose.as_str().to_owned(),
            generation: self.generation,
            public_jwk: self.public_jwk,
            created_at: self.created_at,
            activates_at: self.activates_at,
            revoked_at: None,
        };
        let won =
            store.perform(AddKey { key }).await.map_err(|error: StoreError| error.to_string())?;
        if won {
            let purpose = self.purpose.as_str();
            tracing::info!(target: "jeton::audit", event = "key_created", purpose, kid = %self.id);
        }
        Ok(won.then_some(self.id))
    }
}
