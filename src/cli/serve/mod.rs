//! `jeton serve`, and the only place that puts the parts together.

mod exposure;
mod notify;
mod parts;
mod plan;
mod upkeep;

use std::io::ErrorKind;
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

use super::reopen::explain;
use super::{Failure, log, migrating, unknown_variables};
use crate::config::ServeSettings;
use jeton_crypto::hashing_pool::HashingPool;
use jeton_http::server::{self, IdleTimes, Server};
use jeton_http::{management_routes, public_routes, tls};
use jeton_oauth::{ClientId, Issuer, Seconds};
use jeton_runtime::availability::Availability;
use jeton_runtime::clock::Clock;
use jeton_runtime::supervision::{Health, supervise};
use jeton_store::gate::ReadGate;
use jeton_store::migration::MigrationError;
use jeton_store::{DatabaseLocation, Stop, Store};
use parts::Parts;
pub(super) use plan::{Plan, issuer, key_store, require_rights};
use upkeep::Upkeep;

const MANAGEMENT_CONNECTIONS_MAX: usize = 64;

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// The address of the public listener.
    pub public: SocketAddr,
    /// The address of the management listener.
    pub management: SocketAddr,
    /// The issuer.
    pub issuer: Issuer,
    upkeep: Arc<Upkeep>,
    /// Tells the public listener to stop, and `/readyz` to report it.
    drain: watch::Sender<bool>,
    public_listener: JoinHandle<()>,
    /// Tells everything else to stop.
    stop: watch::Sender<bool>,
    management_listener: JoinHandle<()>,
}

/// Binds an address before anything else is touched.
pub(super) fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    server::listen(address).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => {
                "a port below 1024 needs a right: in the unit of systemd AmbientCapabilities=CAP_NET_BIND_SERVICE, \
                 in a container the capability NET_BIND_SERVICE; or name a port from 1024 on"
            }
            ErrorKind::AddrNotAvailable => {
                "this machine has no such address: name one that it has, or 0.0.0.0 for all"
            }
            _ => "stop what uses the address, or name another",
        };
        Failure::failed(format!("cannot listen on {address} ({setting}): {error}; {remedy}"))
    })
}

/// Requires that the default client exists and is public.
pub(super) async fn check_default_client(
    store: &Store,
    id: Option<&ClientId>,
) -> Result<(), Failure> {
    let Some(id) = id else { return Ok(()) };
    match store.find_client(id.clone()).await? {
        Some(found) if found.client.settings.public => Ok(()),
        Some(_) => Err(Failure::failed(format!(
            "--default-client {id} is confidential, so nobody could be it without its secret: name \
             a client that was added with --public"
        ))),
        None => Err(Failure::failed(format!(
            "--default-client {id} does not exist: add it with `jeton client add {id} --public …`"
        ))),
    }
}

/// Refuses a database that is the target of a copy which is not complete. Logs why another one takes no changes.
async fn require_readable(store: &Store, location: &DatabaseLocation) -> Result<(), Failure> {
    let Some(closure) = store.perform(ReadGate).await? else { return Ok(()) };
    let why = format!("the database {location} (--database): {}", explain(&closure));
    if !closure.can_be_read() {
        return Err(Failure::failed(why));
    }
    tracing::warn!("{why}");
    Ok(())
}

/// Logs that a new database was made, because the operator may have meant an existing one.
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

fn watch_for_standstills(
    availability: &Availability,
    health: &Health,
    stop: watch::Receiver<bool>,
) {
    let availability = availability.clone();
    supervise("standstill watch", health, move || {
        let watching = availability.clone().watch(stop.clone());
        async move {
            watching.await;
            Ok(())
        }
    });
}

fn duration(span: Seconds) -> Duration {
    Duration::from_secs(span.get().unsigned_abs())
}

fn idle_times(settings: &ServeSettings) -> IdleTimes {
    IdleTimes {
        of_proxies: duration(settings.proxy_connection_idle),
        proxies: settings.trusted_proxy.clone(),
        of_others: duration(settings.connection_idle),
    }
}

fn public_server(listener: TcpListener, plan: &Plan, parts: &Parts) -> Result<Server, Failure> {
    Ok(Server {
        listener,
        tls: plan.certificate.clone().map(tls::acceptor).transpose()?,
        tls_on_subdomains: !parts.settings.hsts_host_only,
        idle_times: idle_times(&parts.settings),
        max_connections: plan.connections_max,
        drain: Some(duration(parts.settings.drain())),
        open_connections: parts.metrics.connections.clone(),
        gave_way: parts.metrics.connections_gave_way.clone(),
    })
}

fn management_server(listener: TcpListener, settings: &ServeSettings) -> Server {
    Server {
        listener,
        tls: None,
        tls_on_subdomains: false,
        idle_times: idle_times(settings),
        max_connections: MANAGEMENT_CONNECTIONS_MAX,
        drain: None,
        open_connections: Gauge::default(),
        gave_way: Counter::default(),
    }
}

fn warn_of_few_connections(wanted: usize, possible: usize) {
    if possible < wanted {
        tracing::warn!(
            "--max-connections {wanted} is more than the limit of open files allows: at most {possible} \
             are open at once; raise the limit (LimitNOFILE= of systemd, ulimit -n)"
        );
    }
}

impl Service {
    /// Starts the service.
    ///
    /// # Errors
    /// One sentence that names the setting and the remedy. Nothing is left half-done.
    pub async fn start(settings: ServeSettings, clock: Clock) -> Result<Self, Failure> {
        let (_told, stop) = watch::channel(false);
        let started = Self::start_unless(stop, settings, clock).await?;
        started.ok_or_else(|| Failure::failed("nobody told it to stop".to_owned()))
    }

    /// The same. `None` if the process is told to stop while the tables are brought up to date, which may take long.
    async fn start_unless(
        stop: Stop,
        settings: ServeSettings,
        clock: Clock,
    ) -> Result<Option<Self>, Failure> {
        let plan = Plan::make(&settings)?;
        plan.exposed.iter().for_each(|problem| tracing::warn!("{problem}"));
        let public = bind(settings.listen, "--listen")?;
        let management = bind(settings.management_listen, "--management-listen")?;
        let no_address = |error: std::io::Error| format!("the listener has no address: {error}");
        let public_address = public.local_addr().map_err(no_address)?;
        let management_address = management.local_addr().map_err(no_address)?;
        let issuer = issuer(&settings, public_address.port())?;

        // The hashing threads test themselves while the database is opened.
        let (health, limits) = (Health::default(), plan.hashing);
        let of_hashing = health.clone();
        let hashing = tokio::task::spawn_blocking(move || HashingPool::start(limits, &of_hashing));

        let location = &settings.database.database;
        let in_database = |error: MigrationError| {
            Failure::from(error).reworded(|text| format!("the database {location}: {text}"))
        };
        let availability = Availability::new(clock.clone());
        let store = Store::open(location).await?.telling(availability.clone());
        say_if_new(&store);
        let tables = migrating::for_service(&store, &clock, stop).await.map_err(in_database)?;
        if !tables.is_up_to_date() {
            return Ok(None);
        }
        require_rights(&store, location, false).await?;
        require_readable(&store, location).await?;
        check_default_client(&store, plan.default_client.as_ref()).await?;
        let hashing = hashing.await.map_err(std::io::Error::other).flatten();
        let hashing = hashing.map_err(|error| no_hashing(&error))?;
        let parts = Parts::gather(settings, clock, issuer, store, availability, &hashing).await?;

        let routes = public_routes(parts.public(plan.default_client.clone(), hashing));
        let (drain, draining) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        let public = public_server(public, &plan, &parts)?;
        let management = management_server(management, &parts.settings);
        let readiness = parts.readiness(&health, &stopping, draining.clone());
        let management_routes =
            management_routes(parts.management(plan.certificate.clone(), readiness));
        let public_listener = public.start("public listener", &health, routes, &draining);
        let management_listener =
            management.start("management listener", &health, management_routes, &stopping);
        let upkeep = Arc::new(parts.upkeep(plan.certificate.clone()));
        upkeep.start(&health, &stopping);
        watch_for_standstills(&parts.availability, &health, stopping);
        let service = Self {
            upkeep,
            public: public_address,
            management: management_address,
            issuer: parts.issuer,
            drain,
            public_listener,
            stop,
            management_listener,
        };
        if let Some(problem) = parts.settings.drain_problem() {
            tracing::warn!("{problem}");
        }
        warn_of_few_connections(parts.settings.max_connections, plan.connections_max);
        service.announce(&plan);
        Ok(Some(service))
    }

    fn announce(&self, plan: &Plan) {
        let hashing = &plan.hashing;
        let memory_limit = plan.memory_limit.as_ref();
        let memory_limit = memory_limit.map(ToString::to_string).unwrap_or_default();
        tracing::info!(
            public = %self.public,
            management = %self.management,
            issuer = %self.issuer,
            hashing_threads = hashing.threads,
            hashing_lanes = hashing.lanes(hashing.cost),
            hashing_kernel = hashing.kernel.name(),
            hashing_memory_mib = (hashing.memory_per_thread >> 20) * hashing.threads as u64,
            connections_memory_mib = plan.connections_memory >> 20,
            memory_limit,
            scrypt = %hashing.cost,
            "serving"
        );
    }

    /// Reloads keys, metadata and certificate now, without waiting for the interval.
    pub async fn reload(&self) {
        self.upkeep.measure_clock().await;
        self.upkeep.look_again().await;
    }

    /// Deletes what has expired now, without waiting for the interval.
    pub async fn clean(&self) {
        self.upkeep.clean().await;
    }

    /// Stops: reports that it is not ready, answers requests in progress and those that still come, for a limited time,
    /// then closes the management listener and the database.
    pub async fn stop(self) {
        self.drain.send_replace(true);
        self.public_listener.await.ok();
        self.stop.send_replace(true);
        self.management_listener.await.ok();
        self.upkeep.end().await;
        self.upkeep.store.close().await;
    }
}

/// Catches the signals to stop from now on. The future waits for the first one.
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

/// Catches the signals to stop from now on. The result becomes true at the first one.
pub(super) fn stop_signal() -> Result<Stop, Failure> {
    let told_to_stop = told_to_stop()?;
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        told_to_stop.await;
        stop.send_replace(true);
    });
    Ok(stopping)
}

/// Keeps passwords and keys out of core dumps, and other programs of the same user out of this process's memory.
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
    // Before the service is announced, since whoever waits for that may stop it right away.
    let mut stop = stop_signal()?;
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|error| format!("cannot wait for the signal to reload: {error}"))?;
    for name in unknown_variables() {
        tracing::warn!("the environment variable {name:?} is no setting");
    }
    notify::starting();
    let Some(service) = Service::start_unless(stop.clone(), settings, Clock::System).await? else {
        tracing::info!(
            "stopped while the tables were brought up to date: the next start goes on there"
        );
        return Ok(());
    };
    notify::serving(&service.issuer);
    let hung_up = async {
        while hangups.recv().await.is_some() {
            notify::reloading();
            service.reload().await;
            notify::serving(&service.issuer);
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = hung_up => {}
    }
    tracing::info!("stopping");
    notify::stopping();
    service.stop().await;
    tracing::info!("stopped");
    Ok(())
}
