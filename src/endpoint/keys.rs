//! The keys of this replica: read from the database, opened, made when they are due. One kind signs
//! access tokens, the other derives refresh tokens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::Refusal;
use super::key_vault::{
    KeyVault, dates, find_throttle_key, is_for, next_generation, open_refresh_key,
    open_signing_key, open_throttle_key,
};
use crate::clock::{Clock, Seconds, Timestamp};
use crate::crypto::key_lifecycle::{self, KeyDates, KeyState};
use crate::crypto::key_ring::{DatedKey, KeyRing, Verified};
use crate::crypto::refresh_keys::{RefreshKey, RefreshKeys};
use crate::crypto::sealing::{KeyPurpose, MasterKeys};
use crate::crypto::throttle_key::ThrottleKey;
use crate::oauth::Issuer;
use crate::oauth::access_token::AccessTokenClaims;
use crate::oauth::refresh_token::RefreshTokenClaims;
use crate::secret::Secret;
use crate::store::keys::StoredKey;

/// How long after a look at the database a token of an unknown key does not lead to another.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A token that this service made.
#[derive(Debug)]
pub enum GenuineToken {
    /// An access token that has not expired.
    Access(Box<AccessTokenClaims>),
    /// A refresh token of any generation.
    Refresh(RefreshTokenClaims),
}

/// The keys in hand. They stay in hand when the database is gone.
#[derive(Debug)]
pub struct Keys {
    vault: KeyVault,
    clock: Clock,
    in_hand: ArcSwap<InHand>,
    /// One look at the database at a time: what an earlier one read never replaces what a later one did.
    looked: Mutex<Look>,
}

/// A look at the database: when it was over, and what came of it.
#[derive(Debug)]
struct Look {
    ended: Instant,
    outcome: Result<(), String>,
}

#[derive(Debug)]
struct InHand {
    opened: Opened,
    ring: Arc<KeyRing>,
    refresh: Arc<RefreshKeys>,
    /// When the database was last asked for them, as the clock has run.
    loaded: Seconds,
}

/// Keys that were opened.
#[derive(Clone, Debug, Default)]
struct Opened {
    signing: Vec<DatedKey>,
    refresh: Vec<RefreshKey>,
    throttle: Option<ThrottleKey>,
}

/// How the keys of a replica stand, for health and metrics.
#[derive(Clone, Copy, Debug)]
pub struct KeyHealth {
    /// How long ago the database was last asked for keys.
    pub age: Seconds,
    /// For how long the key set may still be cached: nothing once the database could not be asked for
    /// so long that a key may sign which this replica does not publish.
    pub jwks_max_age: Seconds,
    /// When the next key is to be published, unless it is already.
    pub next_published_at: Option<Timestamp>,
    /// When the next key begins to sign.
    pub next_signs_at: Option<Timestamp>,
}

impl Keys {
    /// Loads the keys, after making what is missing or due. Every signing key signs and verifies once.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn load(vault: KeyVault, clock: Clock) -> Result<Self, String> {
        let loaded = clock.elapsed();
        let opened = read_and_make(&vault, &clock, &Opened::default()).await?;
        let (now, max_age) = (clock.now(), vault.schedule.jwks_max_age);
        let in_hand = InHand {
            ring: Arc::new(KeyRing::new(&opened.signing, now, &vault.schedule, max_age, None)),
            refresh: Arc::new(RefreshKeys::new(opened.refresh.iter().cloned(), now)),
            opened,
            loaded,
        };
        let in_hand = ArcSwap::from_pointee(in_hand);
        let looked = Mutex::new(Look { ended: Instant::now(), outcome: Ok(()) });
        Ok(Self { vault, clock, in_hand, looked })
    }

    /// Opens the keys that are stored, makes none, and says how many there are.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn try_open(vault: &KeyVault, now: Timestamp) -> Result<usize, String> {
        let stored = vault.list().await?;
        if stored.is_empty() {
            return Ok(0);
        }
        let masters = vault.masters(&stored)?;
        let opened = Opened::open(&stored, vault, Some(masters), &Opened::default(), now)?;
        Ok(opened.signing.len() + opened.refresh.len())
    }

    /// The signing keys as they stand.
    #[must_use]
    pub fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.in_hand.load().ring)
    }

    /// How the keys stand.
    #[must_use]
    pub fn health(&self) -> KeyHealth {
        let in_hand = self.in_hand.load();
        let now = self.clock.now();
        let (dates, schedule) = (in_hand.opened.signing_dates(), &self.vault.schedule);
        let lives = key_lifecycle::lives(&dates, now, schedule, None);
        let of = |wanted| {
            let pairs = dates.iter().zip(&lives).filter(move |(_, life)| life.state == wanted);
            pairs.map(|(dates, _)| dates.activates_at).min()
        };
        let next_signs_at = of(KeyState::Published);
        let planned = of(KeyState::Signing).map(|at| at.after(schedule.rotation));
        let to_come = planned.filter(|_| next_signs_at.is_none());
        let published = |at: Timestamp| Timestamp(at.0.saturating_sub(schedule.lead.get()));
        KeyHealth {
            age: self.clock.elapsed().since(in_hand.loaded),
            jwks_max_age: in_hand.ring.jwks().max_age,
            next_published_at: to_come.map(published),
            next_signs_at: next_signs_at.or(planned),
        }
    }

    /// The key that names counters.
    ///
    /// # Errors
    /// [`Refusal::Fault`] if there is none.
    pub fn throttle_key(&self) -> Result<ThrottleKey, Refusal> {
        let in_hand = self.in_hand.load();
        let no_key = || Refusal::Fault("there is no throttle key".to_owned());
        in_hand.opened.throttle.clone().ok_or_else(no_key)
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

    /// Verifies a presented refresh token; `None` if nobody made it. Only one that names a key which is
    /// not in hand makes this replica look at the database, and no more than once a second.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the database cannot tell whether there is such a key: `None` would
    /// make a client throw a good token away.
    pub async fn verify_refresh_token(
        &self,
        token: &Secret,
    ) -> Result<Option<RefreshTokenClaims>, Refusal> {
        self.verify(|in_hand| in_hand.refresh.verify(token)).await
    }

    /// Verifies a token of either kind; `None` if it is none. Sessions are not looked at.
    ///
    /// # Errors
    /// As [`Keys::verify_refresh_token`].
    pub async fn recognise(
        &self,
        token: &Secret,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<Option<GenuineToken>, Refusal> {
        // Only a JWS has dots.
        if token.expose().contains('.') {
            let verify = |in_hand: &InHand| in_hand.ring.verify(token.expose(), issuer, now);
            let claims = self.verify(verify).await?;
            return Ok(claims.map(|claims| GenuineToken::Access(Box::new(claims))));
        }
        Ok(self.verify_refresh_token(token).await?.map(GenuineToken::Refresh))
    }

    /// Verifies with the keys in hand, and once more after a look at the database if a key is missing
    /// that another replica or the command line may just have made.
    async fn verify<T>(
        &self,
        verify: impl Fn(&InHand) -> Verified<T>,
    ) -> Result<Option<T>, Refusal> {
        let in_hand = self.in_hand.load_full();
        match verify(&in_hand) {
            Verified::Genuine(claims) => return Ok(Some(claims)),
            Verified::Forged => return Ok(None),
            Verified::OfUnknownKey => {}
        }
        self.look_again_after(LOOK_INTERVAL_MIN).await.map_err(|problem| Refusal::Unavailable {
            retry_after: Seconds::new(1),
            detail: format!("a token of an unknown key, and no look at the keys: {problem}"),
        })?;
        match verify(&self.in_hand.load_full()) {
            Verified::Genuine(claims) => Ok(Some(claims)),
            Verified::OfUnknownKey | Verified::Forged => Ok(None),
        }
    }

    /// Looks at the database again, and makes the next signing key if it is due. Whatever fails, the
    /// keys in hand stay, and go on through their lives.
    ///
    /// # Errors
    /// A sentence for the log.
    pub async fn reload(&self) -> Result<(), String> {
        self.look_again_after(Duration::ZERO).await
    }

    /// Looks again, unless that was done so short a time ago: then what came of that counts, so that a
    /// flood of forged tokens does not queue before a database that is gone.
    async fn look_again_after(&self, interval: Duration) -> Result<(), String> {
        let mut last = self.looked.lock().await;
        if last.ended.elapsed() < interval {
            return last.outcome.clone();
        }
        let outcome = self.look().await;
        *last = Look { ended: Instant::now(), outcome: outcome.clone() };
        outcome
    }

    async fn look(&self) -> Result<(), String> {
        let before = self.in_hand.load_full();
        let asked = self.clock.elapsed();
        let outcome = read_and_make(&self.vault, &self.clock, &before.opened).await;
        let (opened, loaded) = match &outcome {
            Ok(opened) => (opened.clone(), asked),
            Err(_) => (before.opened.clone(), before.loaded),
        };
        let schedule = &self.vault.schedule;
        let max_age = schedule.vouched(self.clock.elapsed().since(loaded));
        let now = self.clock.now();
        let ring = KeyRing::new(&opened.signing, now, schedule, max_age, Some(&before.ring));
        let signs = |ring: &KeyRing| ring.signing().map(|key| key.key.public().kid.clone());
        if signs(&ring) != signs(&before.ring) {
            let kid = signs(&ring).map_or(String::new(), |kid| kid.to_string());
            tracing::info!(target: "jeton::audit", event = "signing_key_changed", kid);
        }
        let refresh = RefreshKeys::new(opened.refresh.iter().cloned(), now);
        let in_hand = InHand { opened, ring: Arc::new(ring), refresh: Arc::new(refresh), loaded };
        self.in_hand.store(Arc::new(in_hand));
        outcome.map(|_| ())
    }
}

/// Reads the keys, makes those that are missing or due, and opens them all.
async fn read_and_make(vault: &KeyVault, clock: &Clock, before: &Opened) -> Result<Opened, String> {
    let stored = vault.list().await?;
    let now = clock.now();
    let live: Vec<KeyDates> =
        stored.iter().filter(is_for(KeyPurpose::Signing)).map(dates).collect();
    let due = key_lifecycle::next_activation(&live, now, &vault.schedule);
    let is_missing = |purpose: &KeyPurpose| {
        !stored.iter().any(|key| is_for(*purpose)(&key) && key.revoked_at.is_none())
    };
    let missing: Vec<KeyPurpose> =
        [KeyPurpose::Refresh, KeyPurpose::Throttle].into_iter().filter(is_missing).collect();
    if due.is_none() && missing.is_empty() {
        return Opened::open(&stored, vault, None, before, now);
    }
    let masters = vault.masters(&stored)?;
    if let Some(next) = due {
        // The lead begins when the key is there: making it takes time.
        let moments = || {
            let created_at = clock.now();
            (created_at, next.after(created_at.since(now)))
        };
        let generation = next_generation(&stored, KeyPurpose::Signing);
        vault.make_signing_key(&masters, generation, moments).await?;
    }
    for purpose in missing {
        let generation = next_generation(&stored, purpose);
        vault.make_symmetric_key(purpose, &masters, generation, now, now).await?;
    }
    let stored = vault.list().await?;
    Opened::open(&stored, vault, Some(masters), before, clock.now())
}

impl Opened {
    /// Opens every key that is of use, but for those that were opened before. Kinds of keys that only a
    /// later version knows are left alone.
    fn open(
        stored: &[StoredKey],
        vault: &KeyVault,
        mut masters: Option<MasterKeys>,
        before: &Self,
        now: Timestamp,
    ) -> Result<Self, String> {
        let mut with_masters = |open: &mut dyn FnMut(&MasterKeys) -> Result<(), String>| {
            if masters.is_none() {
                masters = Some(vault.masters(stored)?);
            }
            masters.as_ref().map_or(Ok(()), open)
        };
        let mut opened = Self::default();
        let signing: Vec<&StoredKey> = stored.iter().filter(is_for(KeyPurpose::Signing)).collect();
        let all_dates: Vec<KeyDates> = signing.iter().map(|key| dates(key)).collect();
        let lives = key_lifecycle::lives(&all_dates, now, &vault.schedule, None);
        for ((row, dates), life) in signing.into_iter().zip(all_dates).zip(lives) {
            let known = before.signing.iter().find(|known| known.key.public().kid == row.id);
            if let Some(known) = known {
                opened.signing.push(DatedKey { key: Arc::clone(&known.key), dates });
            } else if life.state != KeyState::Gone {
                with_masters(&mut |masters| {
                    let key = Arc::new(open_signing_key(row, masters)?);
                    opened.signing.push(DatedKey { key, dates });
                    Ok(())
                })?;
            }
        }
        let refresh = stored.iter().filter(is_for(KeyPurpose::Refresh));
        for row in refresh.filter(|row| row.revoked_at.is_none()) {
            if let Some(known) = before.refresh.iter().find(|known| *known.id() == row.id) {
                opened.refresh.push(known.clone().dated(dates(row)));
            } else {
                with_masters(&mut |masters| {
                    opened.refresh.push(open_refresh_key(row, masters)?);
                    Ok(())
                })?;
            }
        }
        if let Some(row) = find_throttle_key(stored) {
            opened.throttle = before.throttle.clone().filter(|known| *known.id() == row.id);
            if opened.throttle.is_none() {
                with_masters(&mut |masters| {
                    opened.throttle = Some(open_throttle_key(row, masters)?);
                    Ok(())
                })?;
            }
        }
        Ok(opened)
    }

    fn signing_dates(&self) -> Vec<KeyDates> {
        self.signing.iter().map(|key| key.dates).collect()
    }
}
