//! Builds the endpoints, the upkeep and the management listener from what they share.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::reopen::explain;
use super::super::{Failure, log};
use super::plan::{key_store, replica_settings};
use super::upkeep::{self, Upkeep};
use crate::config::ServeSettings;
use jeton_crypto::hashing_pool::HashingPool;
use jeton_crypto::random;
use jeton_http::metrics::Metrics;
use jeton_http::tls::Certificate;
use jeton_http::{Management, PublicService};
use jeton_oauth::session::SessionLifetimes;
use jeton_oauth::{ClientId, Issuer};
use jeton_runtime::availability::Availability;
use jeton_runtime::clock::Clock;
use jeton_runtime::supervision::{Health, supervise};
use jeton_service::agreed_clock::AgreedClock;
use jeton_service::introspection::IntrospectionEndpoint;
use jeton_service::keys::Keys;
use jeton_service::metadata::Discovery;
use jeton_service::readiness::Readiness;
use jeton_service::readiness::write_watch::WriteWatch;
use jeton_service::replicas::Replica;
use jeton_service::revocation::RevocationEndpoint;
use jeton_service::throttle::Throttle;
use jeton_service::throttle::alarm::UnknownTokens;
use jeton_service::token::TokenEndpoint;
use jeton_service::token::client_authentication::ClientAuthentication;
use jeton_service::token::issuance::Issuance;
use jeton_service::token::password::PasswordGrantEndpoint;
use jeton_service::token::refresh::RefreshGrantEndpoint;
use jeton_store::gate::{ClosedFor, ReadGate};
use jeton_store::{Stop, Store, StoreError, migration};

pub(super) struct Parts {
    pub(super) settings: ServeSettings,
    clock: Clock,
    agreed: Arc<AgreedClock>,
    pub(super) issuer: Issuer,
    store: Store,
    pub(super) availability: Availability,
    keys: Arc<Keys>,
    discovery: Arc<Discovery>,
    pub(super) metrics: Arc<Metrics>,
    replica: Arc<Replica>,
}

impl Parts {
    /// Compares the clock, loads the keys, and records that this replica publishes from now on.
    pub(super) async fn gather(
        settings: ServeSettings,
        clock: Clock,
        issuer: Issuer,
        store: Store,
        availability: Availability,
        hashing: &HashingPool,
    ) -> Result<Self, Failure> {
        let agreed = Arc::new(AgreedClock::start(clock.clone(), store.clone()).await?);
        let key_store = key_store(store.clone(), &settings.keys);
        let keys = Arc::new(Keys::load(key_store, Arc::clone(&agreed)).await?);
        // Recorded before anything is published: a key that another replica makes from now on waits for verifiers that
        // cache this replica's key set. Keys made before are read once more. A failure is logged when `Upkeep` reloads,
        // within seconds.
        let replica = replica_settings(&settings, &issuer);
        let replica = Arc::new(Replica::new(store.clone(), clock.clone(), replica));
        upkeep::record(&replica, &agreed).await;
        keys.reload().await.ok();
        let discovery = Discovery::load(store.clone(), issuer.clone(), Arc::clone(&keys)).await?;
        let discovery = Arc::new(discovery);
        let metrics = Arc::new(Metrics::new(
            hashing.metrics(),
            &store,
            keys.signatures(),
            availability.standstills(),
            log::lines_dropped(),
        ));
        Ok(Self {
            settings,
            clock,
            agreed,
            issuer,
            store,
            availability,
            keys,
            discovery,
            metrics,
            replica,
        })
    }

    pub(super) fn public(
        &self,
        default_client: Option<ClientId>,
        hashing: HashingPool,
    ) -> PublicService {
        let settings = &self.settings;
        let hashing = Arc::new(hashing);
        let throttle = Throttle::new(
            self.store.clone(),
            Arc::clone(&self.keys),
            self.clock.clone(),
            hashing.limits().deadline,
        );
        let unknown_tokens = UnknownTokens::new(self.clock.clone());
        let clients = ClientAuthentication::new(
            self.store.clone(),
            Arc::clone(&self.keys),
            throttle.clone(),
            Arc::clone(&hashing),
            self.clock.clone(),
            default_client,
        );
        let issuance = Issuance {
            keys: Arc::clone(&self.keys),
            issuer: self.issuer.clone(),
            access_token_lifetime: settings.access_token_lifetime,
        };
        let lifetimes = SessionLifetimes {
            idle: settings.refresh_token_idle,
            absolute: settings.session_lifetime,
        };
        let password = PasswordGrantEndpoint {
            store: self.store.clone(),
            throttle: throttle.clone(),
            hashing,
            issuance: issuance.clone(),
            lifetimes,
            sessions_max: settings.sessions_per_user_and_client,
            clock: Arc::clone(&self.agreed),
        };
        let refresh = RefreshGrantEndpoint {
            store: self.store.clone(),
            issuance,
            lifetimes,
            retry_window: settings.refresh_retry_window,
            availability: self.availability.clone(),
            clock: Arc::clone(&self.agreed),
        };
        let revocation = RevocationEndpoint {
            clients: clients.clone(),
            keys: Arc::clone(&self.keys),
            store: self.store.clone(),
            issuer: self.issuer.clone(),
            throttle,
            unknown_tokens: unknown_tokens.clone(),
            clock: Arc::clone(&self.agreed),
        };
        let introspection = IntrospectionEndpoint {
            clients: clients.clone(),
            keys: Arc::clone(&self.keys),
            store: self.store.clone(),
            issuer: self.issuer.clone(),
            unknown_tokens,
            clock: Arc::clone(&self.agreed),
        };
        PublicService {
            token: TokenEndpoint { clients, password, refresh, clock: Arc::clone(&self.agreed) },
            revocation,
            introspection,
            discovery: Arc::clone(&self.discovery),
            issuer: self.issuer.clone(),
            metrics: Arc::clone(&self.metrics),
            cors_origins: settings.cors_origin.clone(),
            trusted_proxies: settings.trusted_proxy.clone(),
        }
    }

    pub(super) fn upkeep(&self, certificate: Option<Arc<Certificate>>) -> Upkeep {
        Upkeep {
            store: self.store.clone(),
            clock: Arc::clone(&self.agreed),
            keys: Arc::clone(&self.keys),
            discovery: Arc::clone(&self.discovery),
            certificate,
            metrics: Arc::clone(&self.metrics),
            replica: Arc::clone(&self.replica),
            tables: AtomicI64::new(migration::status_of_nothing().known),
            logged: Mutex::default(),
        }
    }

    /// Watches whether a login could succeed, as long as somebody asks.
    pub(super) fn readiness(&self, health: &Health, stop: &Stop, draining: Stop) -> Readiness {
        let (store, closed) = (self.store.clone(), Arc::<Mutex<_>>::default());
        let watched = Arc::clone(&closed);
        let writes = Arc::new(WriteWatch::new(move || {
            let (store, closed) = (store.clone(), Arc::clone(&watched));
            async move { look_at_writes(&store, &closed).await }
        }));
        let (watch, stop) = (Arc::clone(&writes), stop.clone());
        supervise("write watch", health, move || {
            let (watch, mut stop) = (Arc::clone(&watch), stop.clone());
            async move {
                tokio::select! {
                    () = watch.run() => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
                Ok(())
            }
        });
        Readiness {
            keys: Arc::clone(&self.keys),
            clock: Arc::clone(&self.agreed),
            writes,
            closed,
            health: health.clone(),
            draining,
            logged: Mutex::default(),
        }
    }

    pub(super) fn management(
        &self,
        certificate: Option<Arc<Certificate>>,
        readiness: Readiness,
    ) -> Management {
        Management {
            certificate,
            readiness,
            store: self.store.clone(),
            keys: Arc::clone(&self.keys),
            metrics: Arc::clone(&self.metrics),
            clock: Arc::clone(&self.agreed),
        }
    }
}

/// Tries whether the database takes writes. If its gate is closed and it can be read, nothing is wrong with it: then
/// `closed` becomes the reason.
async fn look_at_writes(store: &Store, closed: &Mutex<Option<ClosedFor>>) -> Result<(), String> {
    let outcome = store.check_write(random::replica_id()).await;
    let closure = match outcome {
        Err(StoreError::Closed | StoreError::Outdated) => {
            store.perform(ReadGate).await.ok().flatten()
        }
        _ => None,
    };
    let reason = closure.as_ref().filter(|closure| closure.can_be_read());
    let reason = reason.map(|closure| closure.reason);
    let before = {
        let mut closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *closed, reason)
    };
    if before != reason {
        if let Some(closure) = &closure {
            tracing::warn!("the database: {}", explain(closure));
        } else {
            tracing::info!("the database takes changes again");
        }
    }
    match (outcome, closure) {
        (_, Some(_)) if reason.is_some() => Ok(()),
        (_, Some(closure)) => Err(explain(&closure)),
        (outcome, None) => outcome.map_err(|error| error.to_string()),
    }
}
