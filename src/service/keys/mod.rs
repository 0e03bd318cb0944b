//! The keys of this replica. They are read from the database, opened, and made when they are due. Signing keys sign
//! access tokens, refresh keys derive refresh tokens, the throttle key names failure counters, and the key of second
//! factors opens the secrets of authenticators.

pub mod administration;
mod data_keys;
mod error;
mod health;
pub mod key_store;
mod making;
mod opened;
mod revoking;
pub mod second_factors;

pub use data_keys::{KnownDataKeys, Sealing};
pub use error::{KeyError, KeyProblem};
pub use health::KeyHealth;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Mutex;

use crate::Refusal;
use crate::agreed_clock::AgreedClock;
use crate::metadata::Document;
use jeton_crypto::key_lifecycle::Schedule;
use jeton_crypto::key_set::{KeySet, Signer, Verified};
use jeton_crypto::refresh_keys::RefreshKeys;
use jeton_crypto::sealing::KeyPurpose;
use jeton_crypto::second_factor_key::SecondFactorKey;
use jeton_crypto::throttle_key::ThrottleKey;
use jeton_oauth::access_token::AccessTokenClaims;
use jeton_oauth::refresh_token::RefreshTokenClaims;
use jeton_oauth::{Issuer, Seconds, Secret, SessionId, Timestamp};
use key_store::KeyStore;
use making::read_and_make;
use opened::Opened;

/// After a look at the database, how long a token of an unknown key causes no other.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// `Retry-After` if a key cannot be opened here. Another replica may be able to answer.
const CLOSED_KEY_RETRY: Seconds = Seconds::new(5);

/// A token that this service made.
#[derive(Debug)]
pub enum GenuineToken {
    /// An access token that has not expired.
    Access(Box<AccessTokenClaims>),
    /// A refresh token of any generation.
    Refresh(RefreshTokenClaims),
}

/// The keys in memory. They stay there while the database is unavailable.
#[derive(Debug)]
pub struct Keys {
    key_store: KeyStore,
    clock: Arc<AgreedClock>,
    current: ArcSwap<CurrentKeys>,
    signatures: SignatureCounters,
    /// One look at a time, so that an earlier one never overwrites the result of a later one.
    looked: Mutex<Look>,
}

/// How access tokens were verified.
#[derive(Debug, Default)]
pub struct SignatureCounters {
    /// Tokens whose signature was computed.
    pub verified: Counter,
    /// Tokens whose signature was remembered as good.
    pub remembered: Counter,
}

/// The last look at the database: when it ended, and its outcome.
#[derive(Debug)]
struct Look {
    ended: Instant,
    outcome: Result<(), KeyError>,
}

#[derive(Debug)]
struct CurrentKeys {
    opened: Opened,
    schedule: Schedule,
    key_set: Arc<KeySet>,
    jwks: Arc<Document>,
    refresh: Arc<RefreshKeys>,
    /// When the database was last asked for them, by the steady clock.
    loaded: Seconds,
}

impl GenuineToken {
    /// The session that the token belongs to.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        match self {
            Self::Access(claims) => &claims.sid,
            Self::Refresh(claims) => &claims.session,
        }
    }
}

impl Keys {
    /// Makes what is missing or due, and loads the keys. Every signing key signs and verifies once. A key that cannot
    /// be opened is logged. It stops the start only if no other can do its work.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn load(key_store: KeyStore, clock: Arc<AgreedClock>) -> Result<Self, KeyError> {
        let nothing = CurrentKeys::nothing(key_store.schedule);
        let asked = clock.elapsed();
        let read = read_and_make(&key_store, &clock, &nothing.opened, nothing.schedule).await?;
        let current = sort(read.opened, read.schedule, &clock, asked, None);
        current.check_start(read.made)?;
        current.opened.report(&nothing.opened);
        let current = ArcSwap::from_pointee(current);
        let looked = Mutex::new(Look { ended: Instant::now(), outcome: Ok(()) });
        Ok(Self { key_store, clock, current, signatures: SignatureCounters::default(), looked })
    }

    /// Opens the stored keys, and returns how many there are. Makes none.
    ///
    /// # Errors
    /// A sentence that says which cannot be opened and what to do.
    pub async fn try_open(key_store: &KeyStore, now: Timestamp) -> Result<usize, KeyError> {
        let stored = key_store.list().await?;
        let opened = Opened::open(&stored, key_store, &Opened::default(), &key_store.schedule, now);
        let mut problems = opened.replaced.clone();
        problems.extend(Some(opened.problem(None)).filter(|problem| !problem.is_empty()));
        let count = opened.signing.len() + opened.refresh.len();
        if problems.is_empty() { Ok(count) } else { Err(KeyError::new(problems.join("; "))) }
    }

    /// The current signing keys.
    #[must_use]
    pub fn key_set(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.load().key_set)
    }

    /// The current JWKS.
    #[must_use]
    pub fn jwks(&self) -> Arc<Document> {
        Arc::clone(&self.current.load().jwks)
    }

    /// The key that names failure counters.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if no such key can be opened here.
    pub fn throttle_key(&self) -> Result<ThrottleKey, Refusal> {
        let current = self.current.load();
        current.opened.throttle.clone().ok_or_else(|| no_key(&current, KeyPurpose::Throttle))
    }

    /// The key of second factors. If it is unknown here, the command line may just have made it, so this replica looks
    /// at the database.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if no such key can be opened here.
    pub async fn second_factor_key(&self) -> Result<SecondFactorKey, Refusal> {
        if let Some(key) = self.current.load().opened.second_factor.clone() {
            return Ok(key);
        }
        if self.current.load().opened.problem(Some(KeyPurpose::SecondFactor)).is_empty() {
            self.reload().await.map_err(|problem| Refusal::Unavailable {
                retry_after: Seconds::new(1),
                detail: format!("no look at the key of second factors: {problem}"),
            })?;
        }
        let current = self.current.load();
        let key = current.opened.second_factor.clone();
        key.ok_or_else(|| no_key(&current, KeyPurpose::SecondFactor))
    }

    /// The key that signs now.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if no such key can be opened here.
    pub fn signer(&self, now: Timestamp) -> Result<Signer, Refusal> {
        let current = self.current.load();
        let signer = current.key_set.signing().cloned();
        let signer = signer.filter(|signer| signer.gone_at.is_none_or(|at| now < at));
        signer.ok_or_else(|| no_key(&current, KeyPurpose::Signing))
    }

    /// Derives the refresh token of a session's generation. `refreshed_at` chooses the key.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if no refresh key can be opened here; [`Refusal::Fault`] if deriving fails.
    pub fn derive_refresh_token(
        &self,
        claims: &RefreshTokenClaims,
        refreshed_at: Timestamp,
    ) -> Result<Secret, Refusal> {
        let current = self.current.load();
        if !current.refresh.can_derive() {
            return Err(no_key(&current, KeyPurpose::Refresh));
        }
        let derived = current.refresh.derive(claims, refreshed_at);
        derived.map_err(|error| Refusal::Fault(error.to_string()))
    }

    /// How access tokens were verified.
    #[must_use]
    pub fn signatures(&self) -> &SignatureCounters {
        &self.signatures
    }

    /// Verifies a token from memory alone: a refresh token, or an access token whose signature was verified before.
    /// `None` says nothing about the token.
    #[must_use]
    pub fn recall(&self, token: &Secret, issuer: &Issuer, now: Timestamp) -> Option<GenuineToken> {
        if is_jws(token) {
            let claims = self.current.load().key_set.recall(token.expose(), issuer, now)?;
            self.signatures.remembered.inc();
            return Some(GenuineToken::Access(Box::new(claims)));
        }
        self.judge_refresh_token(token).genuine().map(GenuineToken::Refresh)
    }

    /// Verifies a refresh token with the keys in memory.
    #[must_use]
    pub fn judge_refresh_token(&self, token: &Secret) -> Verified<RefreshTokenClaims> {
        self.current.load().refresh.verify(token)
    }

    /// Returns the claims of a refresh token that was judged; `None` if it is not genuine. Only a token that names an
    /// unknown key makes this replica look at the database, at most once a second.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the database cannot be asked for that key, or the key cannot be opened here. `None`
    /// would make a client discard a good token.
    pub async fn verify_refresh_token(
        &self,
        token: &Secret,
        judged: Verified<RefreshTokenClaims>,
    ) -> Result<Option<RefreshTokenClaims>, Refusal> {
        self.verify(judged, |current| current.refresh.verify(token)).await
    }

    /// Verifies a token of either kind; `None` if it is not genuine. Sessions are not checked.
    ///
    /// # Errors
    /// As [`Keys::verify_refresh_token`].
    pub async fn recognise(
        &self,
        token: &Secret,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<Option<GenuineToken>, Refusal> {
        if is_jws(token) {
            let verify =
                |current: &CurrentKeys| current.key_set.verify(token.expose(), issuer, now);
            let claims = self.verify(verify(&self.current.load_full()), verify).await?;
            self.signatures.verified.inc_by(u64::from(claims.is_some()));
            return Ok(claims.map(|claims| GenuineToken::Access(Box::new(claims))));
        }
        let judged = self.judge_refresh_token(token);
        Ok(self.verify_refresh_token(token, judged).await?.map(GenuineToken::Refresh))
    }

    /// Returns the claims of a judged token. If its key was unknown, looks at the database and verifies it once more,
    /// since another replica or the command line may just have made the key.
    async fn verify<T>(
        &self,
        judged: Verified<T>,
        verify: impl Fn(&CurrentKeys) -> Verified<T>,
    ) -> Result<Option<T>, Refusal> {
        match judged {
            Verified::Genuine(claims) => return Ok(Some(claims)),
            Verified::Forged => return Ok(None),
            Verified::OfClosedKey => return Err(of_closed_key()),
            Verified::OfUnknownKey => {}
        }
        let looked = self.look_again_after(LOOK_INTERVAL_MIN, |_| false).await;
        looked.map_err(|problem| Refusal::Unavailable {
            retry_after: Seconds::new(1),
            detail: format!("a token of an unknown key, and no look at the keys: {problem}"),
        })?;
        match verify(&self.current.load_full()) {
            Verified::Genuine(claims) => Ok(Some(claims)),
            Verified::OfClosedKey => Err(of_closed_key()),
            Verified::OfUnknownKey | Verified::Forged => Ok(None),
        }
    }

    /// Reads the keys again, and makes the next signing key if it is due. After a failure the keys in memory stay, and
    /// their states still follow from their dates.
    ///
    /// # Errors
    /// A sentence for the log.
    pub async fn reload(&self) -> Result<(), KeyError> {
        self.look_again_after(Duration::ZERO, |_| false).await
    }

    /// Looks at the database, unless the last look was less than `interval` ago. Then that one's outcome counts, so a
    /// flood of forged tokens does not queue for a database that is unavailable. Nor does it look if what another
    /// request found meanwhile is enough.
    async fn look_again_after(
        &self,
        interval: Duration,
        is_enough: impl Fn(&CurrentKeys) -> bool,
    ) -> Result<(), KeyError> {
        let mut last = self.looked.lock().await;
        if is_enough(&self.current.load()) {
            return Ok(());
        }
        if last.ended.elapsed() < interval {
            return last.outcome.clone();
        }
        let outcome = self.look().await;
        *last = Look { ended: Instant::now(), outcome: outcome.clone() };
        outcome
    }

    async fn look(&self) -> Result<(), KeyError> {
        let before = self.current.load_full();
        let asked = self.clock.elapsed();
        let read =
            read_and_make(&self.key_store, &self.clock, &before.opened, before.schedule).await;
        let (opened, schedule, loaded, outcome) = match read {
            Ok(read) => (read.opened, read.schedule, asked, read.made),
            Err(problem) => (before.opened.clone(), before.schedule, before.loaded, Err(problem)),
        };
        opened.report(&before.opened);
        let current = sort(opened, schedule, &self.clock, loaded, Some(&before.key_set));
        let signs =
            |key_set: &KeySet| key_set.signing().map(|signer| signer.key.public().kid.clone());
        if signs(&current.key_set) != signs(&before.key_set) {
            let kid = signs(&current.key_set).map_or(String::new(), |kid| kid.to_string());
            tracing::info!(target: "jeton::audit", event = "signing_key_changed", kid);
        }
        self.current.store(Arc::new(current));
        outcome
    }
}

/// Whether a token of this service is an access token: only a JWS contains dots.
fn is_jws(token: &Secret) -> bool {
    token.expose().contains('.')
}

/// Sorts the keys that were read at `loaded` by their state now.
fn sort(
    opened: Opened,
    schedule: Schedule,
    clock: &AgreedClock,
    loaded: Seconds,
    before: Option<&KeySet>,
) -> CurrentKeys {
    let (now, age) = (clock.presumed_now(), clock.elapsed().since(loaded));
    let key_set = KeySet::new(&opened.signing, now, &schedule, before);
    let jwks = published(&key_set, schedule.vouched(age));
    let refresh = Arc::new(RefreshKeys::new(opened.refresh.iter().cloned(), now));
    CurrentKeys { opened, schedule, key_set: Arc::new(key_set), jwks, refresh, loaded }
}

/// The JWKS of a key set, cacheable for `max_age`.
fn published(key_set: &KeySet, max_age: Seconds) -> Arc<Document> {
    Arc::new(Document { content: key_set.jwks().to_vec().into(), max_age })
}

fn of_closed_key() -> Refusal {
    Refusal::Unavailable {
        retry_after: CLOSED_KEY_RETRY,
        detail: "a token of a key that cannot be opened here".to_owned(),
    }
}

fn no_key(current: &CurrentKeys, purpose: KeyPurpose) -> Refusal {
    let problem = current.opened.problem(Some(purpose));
    Refusal::Unavailable {
        retry_after: CLOSED_KEY_RETRY,
        detail: format!("there is no {} key that can be used here: {problem}", purpose.as_str()),
    }
}

impl CurrentKeys {
    /// No keys, before the first look.
    fn nothing(schedule: Schedule) -> Self {
        let key_set = Arc::new(KeySet::new(&[], Timestamp::default(), &schedule, None));
        let jwks = published(&key_set, schedule.jwks_max_age);
        let (opened, refresh) = (Opened::default(), Arc::default());
        Self { opened, schedule, key_set, jwks, refresh, loaded: Seconds::default() }
    }

    /// Checks whether a service can start with these keys. `made` is the outcome of making the missing ones.
    fn check_start(&self, made: Result<(), KeyError>) -> Result<(), KeyError> {
        let signs = self.key_set.signing().is_some();
        // A damaged throttle key does not stop the start: only the operator may decide to replace it.
        let counts = self.opened.throttle.is_some()
            || self.opened.unusable.iter().any(|key| key.purpose == KeyPurpose::Throttle);
        if signs && self.refresh.can_derive() && counts {
            if let Err(problem) = made {
                tracing::error!("cannot make a key that is due: {problem}");
            }
            return Ok(());
        }
        made?;
        let purpose = if signs { KeyPurpose::Refresh } else { KeyPurpose::Signing };
        match self.opened.problem(Some(purpose)) {
            problem if problem.is_empty() => Err(KeyError::new(format!(
                "there is no {} key that can be used now",
                purpose.as_str()
            ))),
            problem => Err(KeyError::new(problem)),
        }
    }
}
