//! Client authentication (RFC 6749 §2.3), shared by every endpoint that takes a client secret.

use std::sync::Arc;

use super::hashed_secrets::{HashedSecrets, Replaced};
use crate::keys::Keys;
use crate::throttle::Throttle;
use crate::{AuditContext, FormRequest, Refusal};
use jeton_crypto::digest::SecretDigest;
use jeton_crypto::hashing_pool::HashingPool;
use jeton_oauth::client::{ClientAuthenticationMethod, ClientSettings, GrantType};
use jeton_oauth::client_credentials::ClientCredentials;
use jeton_oauth::throttle::Counted;
use jeton_oauth::{Client, ClientId, Reason, Seconds, Secret, SessionId, Timestamp};
use jeton_runtime::clock::Clock;
use jeton_store::clients::{RecordClientUse, RecordSecretUse, StoredClient, StoredSecret};
use jeton_store::sessions::StoredSession;
use jeton_store::{Store, StoreError, UseCase};

/// How exactly the last use of a client and of a secret is recorded.
const LAST_USE_PRECISION: Seconds = Seconds::new(3_600);

/// How often a secret is held against hashes that change meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// A client's name, its secret, and how they were sent.
type PresentedSecret<'a> = (&'a Secret, &'a Secret, ClientAuthenticationMethod);

/// Authenticates clients.
#[derive(Clone, Debug)]
pub struct ClientAuthentication {
    store: Store,
    throttle: Throttle,
    /// Verifies secrets of which there is only a hash.
    hashed: HashedSecrets,
    clock: Clock,
    /// The client of requests that name none.
    default_client: Option<Arc<ClientId>>,
    /// Settings as JSON, parsed for an unknown client so that it takes as long as a known one.
    stand_in: Arc<str>,
}

/// A session that is read together with the client, which saves a round trip to the database. It is looked at only
/// after the client has authenticated.
#[derive(Debug, Default)]
pub struct Prefetch {
    wanted: Option<SessionId>,
    found: Option<Result<Option<StoredSession>, StoreError>>,
}

impl Prefetch {
    /// `wanted` is the session of a genuine token, or `None` if the request is about none.
    #[must_use]
    pub fn new(wanted: Option<SessionId>) -> Self {
        Self { wanted, found: None }
    }

    /// Returns the session that was read with the client, if it has this id and was not yet taken. Otherwise reads it.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn session(
        &mut self,
        id: &SessionId,
        store: &Store,
    ) -> Result<Option<StoredSession>, StoreError> {
        let found = self.found.take().filter(|_| self.wanted.as_ref() == Some(id));
        match found {
            Some(found) => found,
            None => store.find_session(id.clone()).await,
        }
    }
}

impl ClientAuthentication {
    /// Authenticates the clients in `store`.
    #[must_use]
    pub fn new(
        store: Store,
        keys: Arc<Keys>,
        throttle: Throttle,
        hashing: Arc<HashingPool>,
        clock: Clock,
        default_client: Option<ClientId>,
    ) -> Self {
        let settings = ClientSettings {
            grants: [GrantType::Password, GrantType::RefreshToken].into(),
            audiences: "https://api.example".parse().into_iter().collect(),
            ..ClientSettings::default()
        };
        let stand_in = serde_json::to_string(&settings).expect("settings are JSON").into();
        let default_client = default_client.map(Arc::new);
        let (own_store, own_throttle) = (store.clone(), throttle.clone());
        let hashed = HashedSecrets { store: own_store, keys, throttle: own_throttle, hashing };
        Self { store, throttle, hashed, clock, default_client, stand_in }
    }

    /// Finds the client of a request that a public client may make too. A confidential client must authenticate. A
    /// public client only names itself (RFC 6749 §3.2.1). A request without a client is the default client's (§4.3.2).
    ///
    /// # Errors
    /// [`Refusal`]; whatever is wrong with the credentials is `invalid_client`.
    pub async fn identify(
        &self,
        credentials: ClientCredentials,
        request: &FormRequest,
        prefetch: &mut Prefetch,
        audit: &mut AuditContext,
    ) -> Result<Client, Refusal> {
        let client_id = match credentials {
            ClientCredentials::Authenticating { .. } => {
                return self.authenticate(credentials, request, prefetch, audit).await;
            }
            ClientCredentials::Identified { client_id } => ClientId::parse(client_id.expose()),
            ClientCredentials::Nobody => {
                Some(self.default_client.as_deref().ok_or(Reason::NoClient)?.clone())
            }
        };
        let stored = self.find(client_id, prefetch, audit).await?;
        if !stored.client.settings.public {
            return Err(Reason::MissingClientSecret.into());
        }
        self.note_use(&stored);
        Ok(stored.client)
    }

    /// Finds the client of a request that only a confidential client may make.
    ///
    /// # Errors
    /// [`Refusal`]; whatever is wrong with the credentials is `invalid_client`.
    pub async fn authenticate(
        &self,
        credentials: ClientCredentials,
        request: &FormRequest,
        prefetch: &mut Prefetch,
        audit: &mut AuditContext,
    ) -> Result<Client, Refusal> {
        match credentials {
            ClientCredentials::Authenticating { client_id, client_secret, method } => {
                let secret = (&client_id, &client_secret, method);
                self.verify(secret, request, prefetch, audit).await
            }
            // RFC 6749 §2.2: a client identifier alone must not be used for authentication.
            ClientCredentials::Identified { .. } => Err(Reason::MissingClientSecret.into()),
            ClientCredentials::Nobody => Err(Reason::NoClient.into()),
        }
    }

    async fn find(
        &self,
        id: Option<ClientId>,
        prefetch: &mut Prefetch,
        audit: &mut AuditContext,
    ) -> Result<StoredClient, Refusal> {
        let id = id.ok_or(Reason::UnknownClient)?;
        let stored = if let Some(session) = prefetch.wanted.clone() {
            let (client, session) = self.store.find_client_and_session(id, session).await;
            prefetch.found = Some(session);
            client?
        } else {
            self.store.find_client(id).await?
        };
        let stored = stored.ok_or(Reason::UnknownClient)?;
        audit.client = Some(stored.client.id.clone());
        if stored.disabled_at.is_some() {
            return Err(Reason::DisabledClient.into());
        }
        Ok(stored)
    }

    /// Verifies a secret. A correct one is accepted however many failures there were: it has 256 random bits, and an
    /// attacker may share the client's address. The exception is one that came from another service as a hash, until its
    /// first use.
    async fn verify(
        &self,
        secret: PresentedSecret<'_>,
        request: &FormRequest,
        prefetch: &mut Prefetch,
        audit: &mut AuditContext,
    ) -> Result<Client, Refusal> {
        let outcome = self.compare(secret, request, prefetch, audit).await;
        if matches!(outcome, Err(Refusal::Protocol(Reason::UnknownClient))) {
            self.pretend(secret.1);
        }
        if let Err(Refusal::Protocol(_)) = outcome {
            self.throttle.count(Counted::ClientSecrets, request.source).await?;
        }
        outcome
    }

    /// Does the work of a known client for an unknown one, so that the answer takes as long.
    fn pretend(&self, client_secret: &Secret) {
        let settings = serde_json::from_str::<ClientSettings>(&self.stand_in);
        let matches = SecretDigest::of(client_secret).matches(&[0; 32]);
        std::hint::black_box((settings.is_ok(), matches));
    }

    async fn compare(
        &self,
        (client_id, client_secret, method): PresentedSecret<'_>,
        request: &FormRequest,
        prefetch: &mut Prefetch,
        audit: &mut AuditContext,
    ) -> Result<Client, Refusal> {
        let stored = self.find(ClientId::parse(client_id.expose()), prefetch, audit).await?;
        let settings = &stored.client.settings;
        // RFC 6749 §4.3.2: credentials that are sent are checked, even where none are needed.
        if settings.public {
            return Err(Reason::UnexpectedClientSecret.into());
        }
        if settings.authentication_method.is_some_and(|only| only != method) {
            return Err(Reason::WrongClientAuthenticationMethod.into());
        }
        let now = self.clock.now();
        let used = match find_digest(&stored, client_secret, now) {
            Some(used) => used.clone(),
            None => self.compare_hashes(stored.clone(), client_secret, request, audit).await?,
        };
        let noted = |at| now.since(at) < LAST_USE_PRECISION;
        if !used.last_used_at.is_some_and(noted) {
            self.note(RecordSecretUse { id: stored.client.id.clone(), number: used.number, now });
        }
        self.note_use(&stored);
        Ok(stored.client)
    }

    /// Holds a secret against those of which there is only a hash. Decides again if the hash changed meanwhile: another
    /// request may have replaced it by the digest, or a command has sealed or opened it.
    async fn compare_hashes(
        &self,
        mut stored: StoredClient,
        client_secret: &Secret,
        request: &FormRequest,
        audit: &mut AuditContext,
    ) -> Result<StoredSecret, Refusal> {
        for _ in 0..ATTEMPTS_MAX {
            let now = self.clock.now();
            let live = stored.secrets.iter().filter(|secret| is_live(secret, now));
            let (source, caller) = (request.source, &request.caller);
            let presented = self.hashed.open(&stored, live, client_secret, source, caller).await?;
            let presented = presented.ok_or(Reason::WrongClientSecret)?;
            let verified = self.hashed.verify(presented).await?;
            audit.incident = verified.incident;
            let (number, replaced) = verified.outcome?;
            if replaced != Replaced::Gone {
                audit.replaced_secret = (replaced == Replaced::Now).then_some(number);
                let used = stored.secrets.into_iter().find(|secret| secret.number == number);
                return Ok(used.expect("it was one of these"));
            }
            let id = Some(stored.client.id.clone());
            stored = self.find(id, &mut Prefetch::default(), audit).await?;
            if let Some(used) = find_digest(&stored, client_secret, self.clock.now()) {
                return Ok(used.clone());
            }
        }
        let detail = "the hash of a client secret is changed faster than it is computed".to_owned();
        Err(Refusal::Unavailable { retry_after: Seconds::new(1), detail })
    }

    /// Notes that a client was used, unless that was noted lately.
    fn note_use(&self, stored: &StoredClient) {
        let now = self.clock.now();
        if stored.last_used_at.is_none_or(|at| now.since(at) >= LAST_USE_PRECISION) {
            let since = Timestamp(now.0.saturating_sub(LAST_USE_PRECISION.get()));
            self.note(RecordClientUse { id: stored.client.id.clone(), now, since });
        }
    }

    /// Stores a note, which is for the operator's eyes only: no reason to turn a client away, or to make it wait.
    fn note(&self, note: impl UseCase) {
        let store = self.store.clone();
        tokio::spawn(async move { store.perform(note).await.map(drop) });
    }
}

/// The live secret whose digest this is the secret of.
fn find_digest<'a>(
    stored: &'a StoredClient,
    client_secret: &Secret,
    now: Timestamp,
) -> Option<&'a StoredSecret> {
    let digest = SecretDigest::of(client_secret);
    let mut live = stored.secrets.iter().filter(|secret| is_live(secret, now));
    live.find(|secret| digest.matches(&secret.digest))
}

fn is_live(secret: &StoredSecret, now: Timestamp) -> bool {
    secret.expires_at.is_none_or(|at| now < at)
}
