//! A service with sessions, and callers that refresh them, each its own, as honest clients do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jeton_crypto::key_lifecycle::KeyDates;
use jeton_crypto::refresh_keys::{RefreshKey, RefreshKeys};
use jeton_crypto::sealing::{KeyPurpose, MasterKeys};
use jeton_oauth::refresh_token::RefreshTokenClaims;
use jeton_oauth::{KeyId, SessionId, Timestamp};

use super::load::{Caller, Load, Rate};
use super::process::{Engine, Jeton};
use super::rows::{self, Sessions};

/// How many callers fetch access tokens.
const FETCHERS: usize = 8;

/// A service with so many users, each with a live session.
pub(crate) struct WithSessions {
    pub(crate) jeton: Jeton,
    pub(crate) sessions: usize,
    keys: RefreshKeys,
    /// The good token of each session that was refreshed; the others have their first.
    tokens: Mutex<HashMap<usize, String>>,
}

impl WithSessions {
    pub(crate) async fn start(engine: Engine, sessions: usize) -> Option<Arc<Self>> {
        let jeton = Jeton::start_on(engine).await?;
        rows::add(&jeton.database, sessions, Sessions::Live, sessions).await;
        let keys = refresh_keys(&jeton).await;
        Some(Arc::new(Self { jeton, sessions, keys, tokens: Mutex::default() }))
    }

    /// Stops the service and starts it again on the same data. Nobody else may use it.
    pub(crate) fn restart(self: Arc<Self>) -> Arc<Self> {
        let Ok(own) = Arc::try_unwrap(self) else { panic!("somebody uses it") };
        Arc::new(Self { jeton: own.jeton.restart(), ..own })
    }

    /// Refreshes a session and returns the access token, or nothing if the answer is 503. Any other
    /// refusal ends the benchmark.
    pub(crate) async fn refresh(&self, caller: &mut Caller, number: usize) -> Option<String> {
        let tokens = || self.tokens.lock().expect("no panic");
        let kept = tokens().remove(&number);
        let token = kept.unwrap_or_else(|| self.first_token(number));
        let status = caller.ask(&self.jeton.refresh_request(&token)).await;
        let content = std::str::from_utf8(&caller.content).expect("JSON");
        if status == Some(503) {
            tokens().insert(number, token);
            return None;
        }
        assert_eq!(status, Some(200), "{content}");
        let member = |name: &str| {
            let (_, rest) = content.split_once(&format!("\"{name}\":\"")).expect("a member");
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        tokens().insert(number, member("refresh_token"));
        Some(member("access_token"))
    }

    /// Refreshes for so long. Each caller has as many of these sessions as the others, and none of
    /// theirs; it takes one of its own by chance.
    pub(crate) async fn refreshes(
        self: &Arc<Self>,
        callers: usize,
        sessions: usize,
        time: Duration,
    ) -> Rate {
        self.refreshes_at(&[self.jeton.public], callers, sessions, time).await
    }

    /// The same at several replicas, to which the callers are dealt in turn.
    pub(crate) async fn refreshes_at(
        self: &Arc<Self>,
        addresses: &[SocketAddr],
        callers: usize,
        sessions: usize,
        time: Duration,
    ) -> Rate {
        let started = Instant::now();
        let callers: Vec<_> = (0..callers)
            .map(|first| {
                let own = Arc::clone(self);
                let address = addresses[first % addresses.len()];
                tokio::spawn(async move {
                    let mut caller = Caller::connect(address).await;
                    let (mut served, mut refused) = (0, 0);
                    while started.elapsed() < time {
                        let chosen = rand::random_range(0..sessions / callers);
                        match own.refresh(&mut caller, first + chosen * callers).await {
                            Some(_) => served += 1,
                            None => refused += 1,
                        }
                    }
                    (served, refused)
                })
            })
            .collect();
        let (mut served, mut refused) = (0, 0);
        for caller in callers {
            let (own_served, own_refused) = caller.await.expect("a caller");
            served += own_served;
            refused += own_refused;
        }
        Rate { per_second: served as f64 / started.elapsed().as_secs_f64(), served, refused }
    }

    /// A load of introspections: any of these tokens each time.
    pub(crate) fn introspections(&self, tokens: &[String], callers: usize) -> Load {
        self.introspections_at(self.jeton.public, tokens, callers)
    }

    /// The same requests, to somebody else.
    pub(crate) fn introspections_at(
        &self,
        address: SocketAddr,
        tokens: &[String],
        callers: usize,
    ) -> Load {
        let requests = tokens.iter().map(|token| self.jeton.introspection_request(token));
        Load::of_any(address, requests.collect(), callers)
    }

    /// So many access tokens, of sessions that are chosen by chance.
    pub(crate) async fn access_tokens(self: &Arc<Self>, count: usize) -> Vec<String> {
        let fetchers = (0..FETCHERS).map(|first| {
            let own = Arc::clone(self);
            tokio::spawn(async move {
                let mut caller = Caller::connect(own.jeton.public).await;
                let mut tokens = Vec::new();
                for _ in 0..count / FETCHERS {
                    let chosen = rand::random_range(0..own.sessions / FETCHERS);
                    tokens.extend(own.refresh(&mut caller, first + chosen * FETCHERS).await);
                }
                tokens
            })
        });
        let mut tokens = Vec::new();
        for fetcher in fetchers.collect::<Vec<_>>() {
            tokens.extend(fetcher.await.expect("a caller"));
        }
        tokens
    }

    fn first_token(&self, number: usize) -> String {
        let session: SessionId = rows::session_id(Sessions::Live, number).parse().expect("an id");
        let claims = RefreshTokenClaims { session, generation: 0 };
        let token = self.keys.derive(&claims, Timestamp(0)).expect("the service's key");
        token.expose().to_owned()
    }
}

/// The service's own refresh key, with which the first token of a session that was written by SQL is
/// what a login would have answered.
async fn refresh_keys(jeton: &Jeton) -> RefreshKeys {
    let (id, sealed) = jeton.sealed_refresh_key().await;
    let (id, file) = (id.parse::<KeyId>().expect("an id"), PathBuf::from(jeton.master_key_file()));
    let masters = MasterKeys::load(&[file], true).expect("the master key");
    let secret = masters.open(KeyPurpose::Refresh, &id, &sealed).expect("the refresh key");
    let long_ago = Timestamp(0);
    let dates = KeyDates { created_at: long_ago, activates_at: long_ago, revoked_at: None };
    RefreshKeys::new([RefreshKey::from_secret(id, dates, &secret).expect("a key")], long_ago)
}
