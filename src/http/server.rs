//! The accept loop. Unlike warp's own, it limits connections, the time for heads and handshakes, and the time to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use warp::filters::BoxedFilter;
use warp::reply::Response;

pub use super::connection::IdleTimes;
use super::connection::{CLOSE_TIMEOUT, Connection, Ending, converse};
use super::request_memory;
use super::slots::Slots;
use jeton_runtime::supervision::{Health, supervise};

/// Octets of each connection's send buffer in the kernel, which doubles this number and would choose megabytes.
const KERNEL_SEND_BUFFER: u32 = 64 * 1_024;
/// How many connections may wait in the kernel, if the system allows as many.
const BACKLOG: u32 = 4_096;
/// How long to wait after the system had no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often to log that connections cannot be accepted or must be evicted.
const SHORTAGE_INTERVAL: Duration = Duration::from_secs(10);
/// How long requests are still answered 503 after the time to drain.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// How far a listener is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It was not told to stop.
    Serving,
    /// It serves as before, but each connection closes with its next answer.
    Draining,
    /// The time to drain is over: requests in progress and new ones are answered 503.
    Over,
    /// Connections are closed.
    Closing,
}

/// A listener and what it serves.
pub struct Server {
    /// The bound listener.
    pub listener: TcpListener,
    /// TLS; `None` for plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// Whether browsers are told to use TLS for the subdomains of this host too (RFC 6797 §6.1.2).
    pub tls_on_subdomains: bool,
    /// How long connections may be idle.
    pub idle_times: IdleTimes,
    /// How many connections may be open. Further ones wait in the kernel until another is closed or evicted.
    pub max_connections: usize,
    /// Counts open connections.
    pub open_connections: Gauge,
    /// Counts evicted connections.
    pub gave_way: Counter,
    /// How long to go on serving after the signal to stop, at most. `None` only answers the requests in progress.
    pub drain: Option<Duration>,
}

/// Listens at an address.
///
/// # Errors
/// The error of the system.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it from the listener.
    socket.set_send_buffer_size(KERNEL_SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The most octets that a listener with so many connections takes, whatever protocol they use and however many requests
/// they have in progress. Hashing is not included.
#[must_use]
pub fn memory_bound(max_connections: usize) -> usize {
    request_memory::bound(max_connections)
}

/// Logs that something is short, at most once in `SHORTAGE_INTERVAL`.
#[derive(Default)]
struct RareWarning {
    logged: Option<Instant>,
}

impl RareWarning {
    fn log(&mut self, what: impl FnOnce()) {
        if self.logged.is_none_or(|logged| logged.elapsed() >= SHORTAGE_INTERVAL) {
            self.logged = Some(Instant::now());
            what();
        }
    }
}

impl Server {
    /// Serves as a part of the service until told to stop. If accepting connections fails, it starts again at the same
    /// address, and open connections go on.
    pub fn start(
        self,
        part: &'static str,
        health: &Health,
        routes: BoxedFilter<(Response,)>,
        stop: &watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let address = self.listener.local_addr();
        let address = address.map_err(|error| error.to_string());
        let Self { listener, tls, tls_on_subdomains, idle_times, max_connections, drain, .. } =
            self;
        let (open_connections, gave_way) = (self.open_connections, self.gave_way);
        let (mut first, stop) = (Some(listener), stop.clone());
        supervise(part, health, move || {
            let listener = first.take().map_or_else(
                || listen(address.clone()?).map_err(|error| format!("it cannot listen: {error}")),
                Ok,
            );
            let (tls, routes, stop) = (tls.clone(), routes.clone(), stop.clone());
            let (open_connections, gave_way) = (open_connections.clone(), gave_way.clone());
            let idle_times = idle_times.clone();
            async move {
                let server = Self {
                    listener: listener?,
                    tls,
                    tls_on_subdomains,
                    idle_times,
                    max_connections,
                    open_connections,
                    gave_way,
                    drain,
                };
                server.serve(routes, stop).await;
                Ok(())
            }
        })
    }

    /// Serves until told to stop, then until no more requests come, for a limited time.
    async fn serve(self, routes: BoxedFilter<(Response,)>, stop: watch::Receiver<bool>) {
        let slots = Slots::new(self.max_connections);
        let (stage, now) = watch::channel(Stage::Serving);
        tokio::select! {
            () = self.accept(&slots, routes, &now) => {}
            () = self.drain(&slots, &stage, stop) => {}
        }
        stage.send_replace(Stage::Closing);
        drop(self.listener);
        if timeout(CLOSE_TIMEOUT, slots.all_free()).await.is_err() {
            tracing::warn!("connections were still open when the time to stop was over");
        }
    }

    /// Waits to be told to stop, and then until no request is in progress and none comes.
    async fn drain(
        &self,
        slots: &Slots,
        stage: &watch::Sender<Stage>,
        mut stop: watch::Receiver<bool>,
    ) {
        stop.wait_for(|stop| *stop).await.ok();
        let Some(most) = self.drain else { return };
        stage.send_replace(Stage::Draining);
        if timeout(most, slots.quiet()).await.is_err() {
            let under_way = slots.under_way();
            tracing::warn!(
                under_way,
                "requests still come, or are under way, after --drain: they are answered 503"
            );
            stage.send_replace(Stage::Over);
            timeout(LAST_ANSWERS, slots.quiet()).await.ok();
        }
    }

    /// `Strict-Transport-Security`: for a year (RFC 6797 §6.1), and never over plain HTTP (§7.2).
    fn strict_transport(&self) -> Option<&'static str> {
        let with_subdomains = "max-age=31536000; includeSubDomains";
        let policy = if self.tls_on_subdomains { with_subdomains } else { "max-age=31536000" };
        self.tls.is_some().then_some(policy)
    }

    /// Accepts connections forever.
    async fn accept(
        &self,
        slots: &Arc<Slots>,
        routes: BoxedFilter<(Response,)>,
        stage: &watch::Receiver<Stage>,
    ) {
        let (mut no_descriptor, mut no_slot) = (RareWarning::default(), RareWarning::default());
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    no_descriptor.log(|| tracing::warn!("cannot accept connections: {error}"));
                    slots.evict_one();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let most = self.max_connections;
            let full = || tracing::warn!("all {most} connections are taken: idle ones are evicted");
            let slot = slots.take(|| no_slot.log(full)).await;
            let (peer, stage) = (address.ip().to_canonical(), stage.clone());
            let (idle_time, strict_transport) = (self.idle_times.of(peer), self.strict_transport());
            let connection = Connection { peer, idle_time, strict_transport, slot, stage };
            let (tls, routes) = (self.tls.clone(), routes.clone());
            let (open, gave_way) = (self.open_connections.clone(), self.gave_way.clone());
            tokio::spawn(async move {
                open.inc();
                if converse(stream, connection, tls, routes).await == Ending::GaveWay {
                    gave_way.inc();
                }
                open.dec();
            });
        }
    }
}
