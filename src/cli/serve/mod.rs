//! `jeton serve`, and the one place that puts the parts together.

mod plan;
mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Failure, log, unknown_variables};
use crate::clock::Clock;
use crate::config::ServeSettings;
use crate::crypto::hashing_pool::{HashingLimits, HashingPool};
use crate::endpoint::alarm::UnknownTokens;
use crate::endpoint::client_authentication::ClientAuthentication;
use crate::endpoint::discovery::Discovery;
use crate::endpoint::introspection::IntrospectionEndpoint;
use crate::endpoint::issuance::Issuance;
use crate::endpoint::keys::Keys;
use crate::endpoint::password_grant::PasswordGrantEndpoint;
use crate::endpoint::refresh_grant::RefreshGrantEndpoint;
use crate::endpoint::revocation::RevocationEndpoint;
use crate::endpoint::throttle::Throttle;
use crate::endpoint::token::TokenEndpoint;
use crate::http::metrics::Metrics;
use crate::http::server::{self, Server};
use crate::http::tls::{self, Certificate};
use crate::http::{Management, PublicService, management_routes, public_routes};
use crate::oauth::session::SessionLifetimes;
use crate::oauth::{ClientId, Issuer};
use crate::store::{Store, migration};
use plan::issuer;
pub(super) use plan::{Plan, key_vault};
use upkeep::Upkeep;

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
    upkeep: Arc<Upkeep>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Takes an address, before anything else is touched.
pub(super) fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    server::listen(address).map_err(|error| {
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

/// Says that the database was made: it may be that another one is missed.
fn say_if_new(store: &Store) {
    if let Some(file) = store.new_file() {
        tracing::warn!(
            "made a new, empty database {}: if there should be one already, --database or the folder \
             is not the right one",
            file.display()
        );
    }
}

fn no_hashing(error: &std::io::Error) -> String {
    format!(
        "cannot start the hashing threads: {error}; if there is too little memory, allow them less \
         with --hash-threads or --hash-memory"
    )
}

impl Service {
    /// Starts the service.
    ///
    /// # Errors
    /// One sentence that names the setting and the remedy; nothing is left half-done.
    pub async fn start(settings: ServeSettings, clock: Clock) -> Result<Self, Failure> {
        let plan = Plan::make(&settings)?;
        let public = bind(settings.listen, "--listen")?;
        let management = bind(settings.management_listen, "--management-listen")?;
        let no_address = |error: std::io::Error| format!("the listener has no address: {error}");
        let public_address = public.local_addr().map_err(no_address)?;
        let management_address = management.local_addr().map_err(no_address)?;
        let issuer = issuer(&settings, public_address.port())?;

        let location = &settings.database.database;
        let in_database = |problem: String| format!("the database {location}: {problem}");
        let store = Store::open(location).await?;
        say_if_new(&store);
        migration::migrate(&store, clock.now()).await.map_err(in_database)?;
        check_default_client(&store, plan.default_client.as_ref()).await?;
        let vault = key_vault(store.clone(), &settings.keys);
        let keys = Arc::new(Keys::load(vault, clock.clone()).await?);
        let discovery = Discovery::load(store.clone(), issuer.clone(), Arc::clone(&keys)).await?;
        let discovery = Arc::new(discovery);
        let hashing = HashingPool::start(plan.hashing).map_err(|error| no_hashing(&error))?;
        let metrics = Arc::new(Metrics::new(hashing.metrics(), store.statements()));

        let parts = Parts { settings, clock, issuer, store, keys, discovery, metrics };
        let routes = public_routes(parts.public(plan.default_client, hashing));
        let acceptor = plan.certificate.clone().map(tls::acceptor).transpose()?;
        let (stop, stopping) = watch::channel(false);
        let public = Server {
            listener: public,
            tls: acceptor,
            max_connections: plan.connections_max,
            open_connections: parts.metrics.connections.clone(),
            gave_way: parts.metrics.connections_gave_way.clone(),
        };
        let management = Server {
            listener: management,
            tls: None,
            max_connections: MANAGEMENT_CONNECTIONS_MAX,
            open_connections: Gauge::default(),
            gave_way: Counter::default(),
        };
        let tasks = vec![
            tokio::spawn(public.serve(routes, stopping.clone(), DRAIN_TIMEOUT)),
            tokio::spawn(management.serve(
                management_routes(parts.management()),
                stopping.clone(),
                DRAIN_TIMEOUT,
            )),
        ];
        let upkeep = Arc::new(parts.upkeep(plan.certificate));
        tokio::spawn(Arc::clone(&upkeep).run(stopping));
        let service = Self {
            upkeep,
            public: public_address,
            management: management_address,
            issuer: parts.issuer,
            stop,
            tasks,
        };
        let wanted = parts.settings.max_connections;
        if plan.connections_max < wanted {
            tracing::warn!(
                "--max-connections {wanted} is more than the limit of open files allows: at most {} \
                 are open at once; raise the limit (LimitNOFILE= of systemd, ulimit -n)",
                plan.connections_max
            );
        }
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

    /// Looks again at keys, metadata and certificate, without waiting for the next time that is due.
    pub async fn reload(&self) {
        self.upkeep.look_again().await;
    }

    /// Stops: takes no more connections, finishes what is in flight, for a bounded time, and closes the
    /// database.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.ok();
        }
        self.upkeep.store.close().await;
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
        let settings = &self.settings;
        let throttle = Throttle::new(
            self.store.clone(),
            Arc::clone(&self.keys),
            self.clock.clone(),
            hashing.limits().deadline,
        );
        let unknown_tokens = UnknownTokens::new(self.clock.clone());
        let clients = ClientAuthentication::new(
            self.store.clone(),
            throttle.clone(),
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
            throttle,
            unknown_tokens: unknown_tokens.clone(),
            clock: self.clock.clone(),
        };
        let introspection = IntrospectionEndpoint {
            clients: clients.clone(),
            keys: Arc::clone(&self.keys),
            store: self.store.clone(),
            issuer: self.issuer.clone(),
            unknown_tokens,
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

    fn upkeep(&self, certificate: Option<Arc<Certificate>>) -> Upkeep {
        Upkeep {
            store: self.store.clone(),
            clock: self.clock.clone(),
            keys: Arc::clone(&self.keys),
            discovery: Arc::clone(&self.discovery),
            certificate,
            metrics: Arc::clone(&self.metrics),
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

/// Keeps passwords and keys out of core dumps, and other programs of the same user out of the memory.
fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("core dumps of this process may hold secrets: {error}; forbid them outside");
    }
}

/// Runs the service until it is told to stop.
pub(super) async fn run(settings: ServeSettings) -> Result<(), Failure> {
    log::start(&settings.log)?;
    keep_memory_private();
    // Before it says that it serves: whoever reads that may tell it to stop at once.
    let told_to_stop = told_to_stop()?;
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|error| format!("cannot wait for the signal to reload: {error}"))?;
    for name in unknown_variables() {
        tracing::warn!("the environment variable {name:?} is no setting");
    }
    let service = Service::start(settings, Clock::System).await?;
    let hung_up = async {
        while hangups.recv().await.is_some() {
            service.reload().await;
        }
    };
    tokio::select! {
        () = told_to_stop => {}
        () = hung_up => {}
    }
    tracing::info!("stopping");
    service.stop().await;
    tracing::info!("stopped");
    Ok(())
}
