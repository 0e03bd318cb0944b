//! The keys of this replica: read from the database, opened, made when they are due. One kind signs
//! access tokens, the other derives refresh tokens.

pub mod administration;
mod error;
pub mod key_store;
mod making;
mod opened;

pub use error::{KeyError, KeyProblem};

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Mutex;

use crate::Refusal;
use crate::agreed_clock::AgreedClock;
use crate::metadata::Document;
use jeton_crypto::key_lifecycle::{self, KeyState, Schedule};
use jeton_crypto::key_set::{KeySet, Signer, Verified};
use jeton_crypto::refresh_keys::RefreshKeys;
use jeton_crypto::sealing::KeyPurpose;
use jeton_crypto::throttle_key::ThrottleKey;
use jeton_oauth::access_token::AccessTokenClaims;
use jeton_oauth::refresh_token::RefreshTokenClaims;
use jeton_oauth::{Issuer, Seconds, Secret, SessionId, Timestamp};
use key_store::KeyStore;
use making::read_and_make;
use opened::Opened;

/// How long after a look at the database a token of an unknown key does not lead to another.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// When a caller is to come back for whom a key is needed that cannot be opened here. Another replica may be
/// able to answer it at once.
const CLOSED_KEY_RETRY: Seconds = Seconds::new(5);

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
    key_store: KeyStore,
    clock: Arc<AgreedClock>,
    in_hand: ArcSwap<InHand>,
    signatures: SignatureCounters,
    /// One look at the database at a time: what an earlier one read never replaces what a later one did.
    looked: Mutex<Look>,
}

/// How access tokens were found to be genuine.
#[derive(Debug, Default)]
pub struct SignatureCounters {
    /// Those whose signature was verified.
    pub verified: Counter,
    /// Those whose signature had been verified before.
    pub remembered: Counter,
}

/// A look at the database: when it was over, and what came of it.
#[derive(Debug)]
struct Look {
    ended: Instant,
    outcome: Result<(), KeyError>,
}

#[derive(Debug)]
struct InHand {
    opened: Opened,
    /// When signing keys follow each other where these replicas are.
    schedule: Schedule,
    key_set: Arc<KeySet>,
    /// The JWKS of the key set.
    jwks: Arc<Document>,
    refresh: Arc<RefreshKeys>,
    /// When the database was last asked for them, as the clock has run.
    loaded: Seconds,
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
    /// Whether access tokens can be signed.
    pub signs: bool,
    /// Whether refresh tokens can be derived.
    pub derives: bool,
    /// Whether failures to log in can be counted, without which nobody may try.
    pub counts: bool,
    /// How many keys are of use and cannot be opened here.
    pub unusable: usize,
}

impl GenuineToken {
    /// The session that it belongs to.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        match self {
            Self::Access(claims) => &claims.sid,
            Self::Refresh(claims) => &claims.session,
        }
    }
}

impl Keys {
    /// Loads the keys, after making what is missing or due. Every signing key signs and verifies once. One
    /// that cannot be opened is reported in the log, and stops the start if none can stand in for it.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn load(key_store: KeyStore, clock: Arc<AgreedClock>) -> Result<Self, KeyError> {
        let nothing = InHand::nothing(key_store.schedule);
        let asked = clock.elapsed();
        let read = read_and_make(&key_store, &clock, &nothing.opened, nothing.schedule).await?;
        let in_hand = sort(read.opened, read.schedule, &clock, asked, None);
        in_hand.check_start(read.made)?;
        in_hand.opened.report(&nothing.opened);
        let in_hand = ArcSwap::from_pointee(in_hand);
        let looked = Mutex::new(Look { ended: Instant::now(), outcome: Ok(()) });
        Ok(Self { key_store, clock, in_hand, signatures: SignatureCounters::default(), looked })
    }

    /// Opens the keys that are stored, makes none, and says how many there are.
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

    /// The signing keys as they stand.
    #[must_use]
    pub fn key_set(&self) -> Arc<KeySet> {
        Arc::clone(&self.in_hand.load().key_set)
    }

    /// The published key set as it stands.
    #[must_use]
    pub fn jwks(&self) -> Arc<Document> {
        Arc::clone(&self.in_hand.load().jwks)
    }

    /// How the keys stand.
    #[must_use]
    pub fn health(&self) -> KeyHealth {
        let in_hand = self.in_hand.load();
        let now = self.clock.presumed_now();
        let (dates, schedule) = (in_hand.opened.signing_dates(), &in_hand.schedule);
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
            jwks_max_age: in_hand.jwks.max_age,
            next_published_at: to_come.map(published),
            next_signs_at: next_signs_at.or(planned),
            signs: in_hand.key_set.signing().is_some(),
            derives: in_hand.refresh.can_derive(),
            counts: in_hand.opened.throttle.is_some(),
            unusable: in_hand.opened.unusable.len(),
        }
    }

    /// The key that names counters.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if there is none that can be opened here.
    pub fn throttle_key(&self) -> Result<ThrottleKey, Refusal> {
        let in_hand = self.in_hand.load();
        in_hand.opened.throttle.clone().ok_or_else(|| no_key(&in_hand, KeyPurpose::Throttle))
    }

    /// The key that signs.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if there is none that can be opened here.
    pub fn signer(&self, now: Timestamp) -> Result<Signer, Refusal> {
        let in_hand = self.in_hand.load();
        let signer = in_hand.key_set.signing().cloned();
        let signer = signer.filter(|signer| signer.gone_at.is_none_or(|at| now < at));
        signer.ok_or_else(|| no_key(&in_hand, KeyPurpose::Signing))
    }

    /// Derives the refresh token of a session that got to this generation at this moment.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if there is no key that can be opened here.
    pub fn derive_refresh_token(
        &self,
        claims: &RefreshTokenClaims,
        refreshed_at: Timestamp,
    ) -> Result<Secret, Refusal> {
        let in_hand = self.in_hand.load();
        if !in_hand.refresh.can_derive() {
            return Err(no_key(&in_hand, KeyPurpose::Refresh));
        }
        let derived = in_hand.refresh.derive(claims, refreshed_at);
        derived.map_err(|error| Refusal::Fault(error.to_string()))
    }

    /// How access tokens were found to be genuine.
    #[must_use]
    pub fn signatures(&self) -> &SignatureCounters {
        &self.signatures
    }

    /// A token of either kind that memory alone tells to be genuine: a refresh token, or an access token whose
    /// signature was verified before. `None` says nothing of any other.
    #[must_use]
    pub fn recall(&self, token: &Secret, issuer: &Issuer, now: Timestamp) -> Option<GenuineToken> {
        if is_jws(token) {
            let claims = self.in_hand.load().key_set.recall(token.expose(), issuer, now)?;
            self.signatures.remembered.inc();
            return Some(GenuineToken::Access(Box::new(claims)));
        }
        self.judge_refresh_token(token).genuine().map(GenuineToken::Refresh)
    }

    /// What a presented refresh token is by the keys in hand.
    #[must_use]
    pub fn judge_refresh_token(&self, token: &Secret) -> Verified<RefreshTokenClaims> {
        self.in_hand.load().refresh.verify(token)
    }

    /// What a refresh token says that was judged; `None` if nobody made it. Only one that names a key which is
    /// not in hand makes this replica look at the database, and no more than once a second.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the database cannot tell whether there is such a key, or the key cannot
    /// be opened here: `None` would make a client throw a good token away.
    pub async fn verify_refresh_token(
        &self,
        token: &Secret,
        judged: Verified<RefreshTokenClaims>,
    ) -> Result<Option<RefreshTokenClaims>, Refusal> {
        self.verify(judged, |in_hand| in_hand.refresh.verify(token)).await
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
        if is_jws(token) {
            let verify = |in_hand: &InHand| in_hand.key_set.verify(token.expose(), issuer, now);
            let claims = self.verify(verify(&self.in_hand.load_full()), verify).await?;
            self.signatures.verified.inc_by(u64::from(claims.is_some()));
            return Ok(claims.map(|claims| GenuineToken::Access(Box::new(claims))));
        }
        let judged = self.judge_refresh_token(token);
        Ok(self.verify_refresh_token(token, judged).await?.map(GenuineToken::Refresh))
    }

    /// What a token says that was judged by the keys in hand. It is verified once more after a look at the database
    /// if a key was missing that another replica or the command line may just have made.
    async fn verify<T>(
        &self,
        judged: Verified<T>,
        verify: impl Fn(&InHand) -> Verified<T>,
    ) -> Result<Option<T>, Refusal> {
        match judged {
            Verified::Genuine(claims) => return Ok(Some(claims)),
            Verified::Forged => return Ok(None),
            Verified::OfClosedKey => return Err(of_closed_key()),
            Verified::OfUnknownKey => {}
        }
        self.look_again_after(LOOK_INTERVAL_MIN).await.map_err(|problem| Refusal::Unavailable {
            retry_after: Seconds::new(1),
            detail: format!("a token of an unknown key, and no look at the keys: {problem}"),
        })?;
        match verify(&self.in_hand.load_full()) {
            Verified::Genuine(claims) => Ok(Some(claims)),
            Verified::OfClosedKey => Err(of_closed_key()),
            Verified::OfUnknownKey | Verified::Forged => Ok(None),
        }
    }

    /// Looks at the database again, and makes the next signing key if it is due. Whatever fails, the
    /// keys in hand stay, and go on through their lives.
    ///
    /// # Errors
    /// A sentence for the log.
    pub async fn reload(&self) -> Result<(), KeyError> {
        self.look_again_after(Duration::ZERO).await
    }

    /// Looks again, unless that was done so short a time ago: then what came of that counts, so that a
    /// flood of forged tokens does not queue before a database that is gone.
    async fn look_again_after(&self, interval: Duration) -> Result<(), KeyError> {
        let mut last = self.looked.lock().await;
        if last.ended.elapsed() < interval {
            return last.outcome.clone();
        }
        let outcome = self.look().await;
        *last = Look { ended: Instant::now(), outcome: outcome.clone() };
        outcome
    }

    async fn look(&self) -> Result<(), KeyError> {
        let before = self.in_hand.load_full();
        let asked = self.clock.elapsed();
        let read =
            read_and_make(&self.key_store, &self.clock, &before.opened, before.schedule).await;
        let (opened, schedule, loaded, outcome) = match read {
            Ok(read) => (read.opened, read.schedule, asked, read.made),
            Err(problem) => (before.opened.clone(), before.schedule, before.loaded, Err(problem)),
        };
        opened.report(&before.opened);
        let in_hand = sort(opened, schedule, &self.clock, loaded, Some(&before.key_set));
        let signs =
            |key_set: &KeySet| key_set.signing().map(|signer| signer.key.public().kid.clone());
        if signs(&in_hand.key_set) != signs(&before.key_set) {
            let kid = signs(&in_hand.key_set).map_or(String::new(), |kid| kid.to_string());
            tracing::info!(target: "jeton::audit", event = "signing_key_changed", kid);
        }
        self.in_hand.store(Arc::new(in_hand));
        outcome
    }
}

/// Whether a token is an access token, if it is one of this service: only a JWS has dots.
fn is_jws(token: &Secret) -> bool {
    token.expose().contains('.')
}

/// Sorts keys that were read at this moment by what they are good for now.
fn sort(
    opened: Opened,
    schedule: Schedule,
    clock: &AgreedClock,
    loaded: Seconds,
    before: Option<&KeySet>,
) -> InHand {
    let (now, age) = (clock.presumed_now(), clock.elapsed().since(loaded));
    let key_set = KeySet::new(&opened.signing, now, &schedule, before);
    let jwks = published(&key_set, schedule.vouched(age));
    let refresh = Arc::new(RefreshKeys::new(opened.refresh.iter().cloned(), now));
    InHand { opened, schedule, key_set: Arc::new(key_set), jwks, refresh, loaded }
}

/// The JWKS of a key set, which callers may cache for so long.
fn published(key_set: &KeySet, max_age: Seconds) -> Arc<Document> {
    Arc::new(Document { content: key_set.jwks().to_vec().into(), max_age })
}

fn of_closed_key() -> Refusal {
    Refusal::Unavailable {
        retry_after: CLOSED_KEY_RETRY,
        detail: "a token of a key that cannot be opened here".to_owned(),
    }
}

/// The refusal where no key of a purpose can be used.
fn no_key(in_hand: &InHand, purpose: KeyPurpose) -> Refusal {
    let problem = in_hand.opened.problem(Some(purpose));
    Refusal::Unavailable {
        retry_after: CLOSED_KEY_RETRY,
        detail: format!("there is no {} key that can be used here: {problem}", purpose.as_str()),
    }
}

impl InHand {
    /// Nothing, before the first look.
    fn nothing(schedule: Schedule) -> Self {
        let key_set = Arc::new(KeySet::new(&[], Timestamp::default(), &schedule, None));
        let jwks = published(&key_set, schedule.jwks_max_age);
        let (opened, refresh) = (Opened::default(), Arc::default());
        Self { opened, schedule, key_set, jwks, refresh, loaded: Seconds::default() }
    }

    /// Judges whether a service can start with these keys, after so much was made.
    fn check_start(&self, made: Result<(), KeyError>) -> Result<(), KeyError> {
        let signs = self.key_set.signing().is_some();
        // Whether another takes the place of a throttle key that is damaged is for the operator to say.
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
