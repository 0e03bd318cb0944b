//! `jeton serve`, and the one place that puts the parts together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Failure, log, machine, unknown_variables};
use crate::clock::Clock;
use crate::config::ServeSettings;
use crate::crypto::hashing_pool::{HashingLimits, HashingPool};
use crate::endpoint::client_authentication::ClientAuthentication;
use crate::endpoint::discovery::Discovery;
use crate::endpoint::housekeeping::delete_expired_sessions;
use crate::endpoint::introspection::IntrospectionEndpoint;
use crate::endpoint::issuance::Issuance;
use crate::endpoint::keys::{KeySettings, Keys};
use crate::endpoint::password_grant::PasswordGrantEndpoint;
use crate::endpoint::refresh_grant::RefreshGrantEndpoint;
use crate::endpoint::revocation::RevocationEndpoint;
use crate::endpoint::token::TokenEndpoint;
use crate::http::metrics::Metrics;
use crate::http::server::Server;
use crate::http::tls::{self, Certificate};
use crate::http::{Management, PublicService, management_routes, public_routes};
use crate::oauth::session::SessionLifetimes;
use crate::oauth::{ClientId, Issuer};
use crate::store::{Store, migration};

/// How often keys, metadata and the certificate are looked at again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// How often expired sessions are deleted.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_mins(1);
/// How long requests in flight may take to finish when the service stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections the management listener has at once.
const MANAGEMENT_CONNECTIONS_MAX: usize = 64;

/// A service that runs.
#[derive(Debug)]
pub struct Service {
    /// Where the public listener listens.
    pub public: SocketAddr,
    /// Where the management listener listens.
    pub management: SocketAddr,
    /// The issuer.
    pub issuer: Issuer,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Settings that were held against each other and the machine.
pub(super) struct Plan {
    pub(super) hashing: HashingLimits,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) default_client: Option<ClientId>,
}

impl Plan {
    /// Checks all that can be checked without the database and the network.
    pub(super) fn make(settings: &ServeSettings) -> Result<Self, Failure> {
        issuer(settings, settings.listen.port())?;
        let certificate = match (&settings.tls_certificate, &settings.tls_key) {
            (Some(chain), Some(key)) => {
                Some(Arc::new(Certificate::load(chain.clone(), key.clone())?))
            }
            _ => None,
        };
        let protected = certificate.is_some() || settings.behind_tls_proxy;
        if !protected && !settings.listen.ip().is_loopback() {
            return Err(Failure(format!(
                "--listen {} would carry passwords in the clear: name --tls-certificate and \
                 --tls-key, or say --behind-tls-proxy if a proxy speaks TLS before it",
                settings.listen
            )));
        }
        let (idle, lifetime) = (settings.refresh_token_idle, settings.session_lifetime);
        if idle > lifetime {
            return Err(Failure(format!(
                "--refresh-token-idle {idle} is longer than --session-lifetime {lifetime}: no \
                 session lives that long; shorten the first or lengthen the second"
            )));
        }
        let default_client = settings.default_client.as_deref().map(str::parse).transpose();
        Ok(Self {
            hashing: machine::hashing_limits(settings)?,
            certificate,
            default_client: default_client
                .map_err(|problem: String| format!("--default-client: {problem}"))?,
        })
    }
}

/// The issuer as set, or as it follows from the listener.
fn issuer(settings: &ServeSettings, port: u16) -> Result<Issuer, Failure> {
    match &settings.issuer {
        Some(text) => Ok(text.parse().map_err(|problem| format!("--issuer: {problem}"))?),
        None if settings.listen.ip().is_loopback() && settings.tls_certificate.is_none() => {
            Ok(format!("http://localhost:{port}").parse()?)
        }
        None => {
            Err("--issuer is missing: name the URL under which clients reach this service, as \
                     https://auth.example.com"
                .into())
        }
    }
}

/// Takes an address, before anything else is touched.
pub(super) async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure(format!(
            "cannot listen on {address} ({setting}): {error}; stop what uses the address, or name \
             another"
        ))
    })
}

/// Requires that the default client is there and is public.
pub(super) async fn check_default_client(
    store: &Store,
    id: Option<&ClientId>,
) -> Result<(), Failure> {
    let Some(id) = id else { return Ok(()) };
    match store.find_client(id.clone()).await? {
        Some(found) if found.client.settings.public => Ok(()),
        Some(_) => Err(Failure(format!(
            "--default-client {id} is confidential, so nobody could be it without its secret: name \
             a client that was added with --public"
        ))),
        None => Err(Failure(format!(
            "--default-client {id} does not exist: add it with `jeton client add {id} --public …`"
        ))),
    }
}

impl Service {
    /// Starts the service.
    ///
    /// # Errors
    /// One sentence that names the setting and the remedy; nothing is left half-done.
    pub async fn start(settings: ServeSettings, clock: Clock) -> Result<Self, Failure> {
        let plan = Plan::make(&settings)?;
        let public = bind(settings.listen, "--listen").await?;
        let management = bind(settings.management_listen, "--management-listen").await?;
        let no_address = |error: std::io::Error| format!("the listener has no address: {error}");
        let public_address = public.local_addr().map_err(no_address)?;
        let management_address = management.local_addr().map_err(no_address)?;
        let issuer = issuer(&settings, public_address.port())?;

        let location = &settings.database.database;
        let in_database = |problem: String| format!("the database {location}: {problem}");
        let store = Store::open(location).await?;
        migration::migrate(&store, clock.now()).await.map_err(in_database)?;
        check_default_client(&store, plan.default_client.as_ref()).await?;
        let key_settings = KeySettings {
            master_key_files: settings.master_key_file.clone(),
            bits: settings.key_bits,
            jwks_max_age: settings.jwks_max_age,
        };
        let keys = Keys::load(store.clone(), clock.clone(), &key_settings).await?;
        let keys = Arc::new(keys);
        let discovery = Discovery::load(store.clone(), issuer.clone(), Arc::clone(&keys)).await?;
        let discovery = Arc::new(discovery);
        let hashing = HashingPool::start(plan.hashing)
            .map_err(|error| format!("cannot start the hashing threads: {error}"))?;
        let metrics = Arc::new(Metrics::new(hashing.metrics(), store.statements()));

        let parts = Parts { settings, clock, issuer, store, keys, discovery, metrics };
        let routes = public_routes(parts.public(plan.default_client, hashing));
        let acceptor = plan.certificate.clone().map(tls::acceptor).transpose()?;
        let (stop, stopping) = watch::channel(false);
        let public = Server {
            listener: public,
            tls: acceptor,
            max_connections: parts.settings.max_connections,
            open_connections: parts.metrics.connections.clone(),
        };
        let management = Server {
            listener: management,
            tls: None,
            max_connections: MANAGEMENT_CONNECTIONS_MAX,
            open_connections: prometheus_client::metrics::gauge::Gauge::default(),
        };
        let tasks = vec![
            tokio::spawn(public.serve(routes, stopping.clone(), DRAIN_TIMEOUT)),
            tokio::spawn(management.serve(
                management_routes(parts.management()),
                stopping.clone(),
                DRAIN_TIMEOUT,
            )),
        ];
        tokio::spawn(parts.keep_fresh(plan.certificate, stopping.clone()));
        tokio::spawn(parts.keep_clean(stopping));
        let service = Self {
            public: public_address,
            management: management_address,
            issuer: parts.issuer,
            stop,
            tasks,
        };
        service.announce(plan.hashing);
        Ok(service)
    }

    fn announce(&self, hashing: HashingLimits) {
        tracing::info!(
            public = %self.public,
            management = %self.management,
            issuer = %self.issuer,
            hashing_threads = hashing.threads,
            hashing_memory_mib = (hashing.memory_per_thread >> 20) * hashing.threads as u64,
            scrypt = %hashing.cost,
            "serving"
        );
    }

    /// Stops: takes no more connections and finishes what is in flight, for a bounded time.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.ok();
        }
    }
}

/// What the routes share.
struct Parts {
    settings: ServeSettings,
    clock: Clock,
    issuer: Issuer,
    store: Store,
    keys: Arc<Keys>,
    discovery: Arc<Discovery>,
    metrics: Arc<Metrics>,
}

impl Parts {
    fn public(&self, default_client: Option<ClientId>, hashing: HashingPool) -> PublicService {
        let clients =
            ClientAuthentication::new(self.store.clone(), self.clock.clone(), default_client);
        let settings = &self.settings;
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
            hashing: Arc::new(hashing),
            issuance: issuance.clone(),
            lifetimes,
            sessions_max: settings.sessions_per_user_and_client,
            clock: self.clock.clone(),
        };
        let refresh = RefreshGrantEndpoint {
            store: self.store.clone(),
            issuance,
            lifetimes,
            retry_window: settings.refresh_retry_window,
            clock: self.clock.clone(),
        };
        let revocation = RevocationEndpoint {
            clients: clients.clone(),
            keys: Arc::clone(&self.keys),
            store: self.store.clone(),
            issuer: self.issuer.clone(),
            clock: self.clock.clone(),
        };
        let introspection = IntrospectionEndpoint {
            clients: clients.clone(),
            keys: Arc::clone(&self.keys),
            store: self.store.clone(),
            issuer: self.issuer.clone(),
            clock: self.clock.clone(),
        };
        PublicService {
            token: TokenEndpoint { clients, password, refresh },
            revocation,
            introspection,
            discovery: Arc::clone(&self.discovery),
            issuer: self.issuer.clone(),
            metrics: Arc::clone(&self.metrics),
            cors_origins: settings.cors_origin.clone(),
            trusted_proxies: settings.trusted_proxy.clone(),
        }
    }

    fn management(&self) -> Management {
        Management {
            store: self.store.clone(),
            keys: Arc::clone(&self.keys),
            metrics: Arc::clone(&self.metrics),
            clock: self.clock.clone(),
        }
    }

    /// Deletes expired sessions now and then.
    fn keep_clean(
        &self,
        mut stop: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let metrics = Arc::clone(&self.metrics);
        let clean = async move {
            let mut ticks = tokio::time::interval(HOUSEKEEPING_INTERVAL);
            loop {
                ticks.tick().await;
                let mut counted = 0;
                let count = |total| {
                    metrics.sessions_deleted.inc_by(total - counted);
                    counted = total;
                };
                if let Err(error) = delete_expired_sessions(&store, clock.now(), count).await {
                    tracing::warn!("cannot delete expired sessions now: {error}");
                }
            }
        };
        async move {
            tokio::select! {
                () = clean => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Looks again, now and then, at what other replicas, the command line or the administrator of
    /// the certificate may have changed.
    fn keep_fresh(
        &self,
        certificate: Option<Arc<Certificate>>,
        mut stop: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (keys, discovery) = (Arc::clone(&self.keys), Arc::clone(&self.discovery));
        let metrics = Arc::clone(&self.metrics);
        async move {
            let mut ticks = tokio::time::interval(RELOAD_INTERVAL);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                let failed = |what: &str, problem: String| {
                    metrics.reload_failures.inc();
                    tracing::warn!(
                        "cannot reload {what}, going on with what is in hand: {problem}"
                    );
                };
                if let Err(problem) = keys.reload().await {
                    failed("the keys", problem);
                }
                if let Err(error) = discovery.reload().await {
                    failed("the metadata", error.to_string());
                }
                match certificate.as_ref().map(|certificate| certificate.reload()) {
                    Some(Ok(true)) => tracing::info!("the certificate was read again"),
                    Some(Err(problem)) => failed("the certificate", problem),
                    Some(Ok(false)) | None => {}
                }
            }
        }
    }
}

/// Catches the signals to stop from now on; the future waits for the first.
pub(super) fn told_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    let catch =
        |kind| signal(kind).map_err(|error| format!("cannot wait for the signal to stop: {error}"));
    let (mut terminate, mut interrupt) =
        (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Runs the service until it is told to stop.
pub(super) async fn run(settings: ServeSettings) -> Result<(), Failure> {
    log::start(&settings.log)?;
    // Before it says that it serves: whoever reads that may tell it to stop at once.
    let told_to_stop = told_to_stop()?;
    for name in unknown_variables() {
        tracing::warn!("the environment variable {name} is no setting");
    }
    let service = Service::start(settings, Clock::System).await?;
    told_to_stop.await;
    tracing::info!("stopping");
    service.stop().await;
    tracing::info!("stopped");
    Ok(())
}
