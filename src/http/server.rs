//! The accept loop: what a server at the open door needs and warp's own does not have. Limits on
//! connections, on the time that headers and handshakes may take, and on the time to stop.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, HOST, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderValue, Uri, Version};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::reply;
use super::slots::{Slot, Slots, Turn};
use crate::crypto::random;
use crate::supervision::{Health, supervise};

/// How long a TLS handshake, or the headers of a request, may take; and how long a connection may
/// stay open between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may stay whose caller does not even take the last answer.
const HTTP1_STUCK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an idle HTTP/2 connection may stay.
const HTTP2_IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The most octets that the head of a request may have.
const HEAD_LENGTH_MAX: usize = 16 * 1_024;
/// The most header fields that a request may have.
const HEADERS_MAX: usize = 64;
/// How many requests one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 100;
/// How much content an HTTP/2 connection may send ahead of what is read, and each stream of it.
const HTTP2_WINDOW: u32 = 65_535;
const STREAM_WINDOW: u32 = 16 * 1_024;
/// How much of its answers an HTTP/2 stream may have waiting to be taken.
const SEND_BUFFER_MAX: usize = 64 * 1_024;
/// The same in the kernel, for each connection; it doubles the number, and would choose megabytes.
const KERNEL_SEND_BUFFER: u32 = 64 * 1_024;
/// How many connections may wait in the kernel, if it allows as many.
const BACKLOG: u32 = 4_096;
/// How long to wait after the system had no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often to say that connections cannot be accepted, or have to give way.
const SHORTAGE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a connection may take to close once it was told to.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How a request arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// Its name, in the log and in `X-Request-Id`.
    pub(super) request_id: Arc<str>,
    /// The address of the other end of the connection.
    pub(super) peer: IpAddr,
    /// Whether two readers could disagree about whom it is for.
    pub(super) ambiguous: bool,
}

/// A connection that was accepted.
#[derive(Clone, Debug)]
struct Connection {
    peer: IpAddr,
    tls: bool,
    slot: Arc<Slot>,
}

/// A listener and what it serves.
pub struct Server {
    /// Already bound.
    pub listener: TcpListener,
    /// TLS, or plain.
    pub tls: Option<TlsAcceptor>,
    /// How many connections are open at once. One more is let in when another gives way; the rest
    /// wait in the kernel.
    pub max_connections: usize,
    /// How many are.
    pub open_connections: Gauge,
    /// How many gave way to another.
    pub gave_way: Counter,
    /// How long those that are open have to finish what is in flight, when the service stops.
    pub drain: Duration,
}

/// Listens at an address.
///
/// # Errors
/// What the system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // The connections that are accepted have it from the listener.
    socket.set_send_buffer_size(KERNEL_SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Says that something is short, and not again for a while.
#[derive(Default)]
struct Shortage {
    told: Option<Instant>,
}

impl Shortage {
    fn tell(&mut self, what: impl FnOnce()) {
        if self.told.is_none_or(|told| told.elapsed() >= SHORTAGE_INTERVAL) {
            self.told = Some(Instant::now());
            what();
        }
    }
}

impl Server {
    /// Serves as a part of the service, until told to stop. Should accepting connections fail, it begins anew
    /// at the same address, and the connections that are open go on.
    pub fn start(
        self,
        part: &'static str,
        health: &Health,
        routes: BoxedFilter<(Response,)>,
        stop: &watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let address = self.listener.local_addr();
        let address = address.map_err(|error| error.to_string());
        let Self { listener, tls, max_connections, open_connections, gave_way, drain } = self;
        let (mut first, stop) = (Some(listener), stop.clone());
        supervise(part, health, move || {
            let listener = first.take().map_or_else(
                || listen(address.clone()?).map_err(|error| format!("it cannot listen: {error}")),
                Ok,
            );
            let (tls, routes, stop) = (tls.clone(), routes.clone(), stop.clone());
            let (open_connections, gave_way) = (open_connections.clone(), gave_way.clone());
            async move {
                let listener = listener?;
                let server =
                    Self { listener, tls, max_connections, open_connections, gave_way, drain };
                server.serve(routes, stop).await;
                Ok(())
            }
        })
    }

    /// Serves until told to stop; then takes no more connections, and gives those that are open time to
    /// finish what is in flight.
    async fn serve(self, routes: BoxedFilter<(Response,)>, mut stop: watch::Receiver<bool>) {
        let slots = Slots::new(self.max_connections);
        let (mut no_descriptor, mut no_slot) = (Shortage::default(), Shortage::default());
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stopped(&mut stop) => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    no_descriptor.tell(|| tracing::warn!("cannot accept connections: {error}"));
                    slots.make_room();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let most = self.max_connections;
            let full = || tracing::warn!("all {most} connections are taken: idle ones give way");
            let slot = tokio::select! {
                slot = slots.take(|| no_slot.tell(full)) => slot,
                () = stopped(&mut stop) => break,
            };
            let peer = address.ip().to_canonical();
            let connection = Connection { peer, tls: self.tls.is_some(), slot };
            let (tls, routes, stop) = (self.tls.clone(), routes.clone(), stop.clone());
            let (open, gave_way) = (self.open_connections.clone(), self.gave_way.clone());
            tokio::spawn(async move {
                open.inc();
                if converse(stream, connection, tls, routes, stop).await == Ending::GaveWay {
                    gave_way.inc();
                }
                open.dec();
            });
        }
        drop(self.listener);
        if timeout(self.drain, slots.all_free()).await.is_err() {
            tracing::warn!("connections were still open when the time to stop was over");
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Either side had enough.
    Done,
    /// Another needed its slot.
    GaveWay,
}

/// Speaks with one caller until either side has enough.
async fn converse(
    stream: TcpStream,
    connection: Connection,
    tls: Option<TlsAcceptor>,
    routes: BoxedFilter<(Response,)>,
    stop: watch::Receiver<bool>,
) -> Ending {
    stream.set_nodelay(true).ok();
    let Some(acceptor) = tls else {
        return serve_http1(stream, connection, routes, stop).await;
    };
    let shaken = tokio::select! {
        shaken = timeout(IDLE_TIMEOUT, Box::pin(acceptor.accept(stream))) => shaken,
        () = connection.slot.gives_way() => return Ending::GaveWay,
    };
    let Ok(Ok(stream)) = shaken else { return Ending::Done };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_http2(stream, connection, routes, stop).await
    } else {
        serve_http1(stream, connection, routes, stop).await
    }
}

async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: Connection,
    routes: BoxedFilter<(Response,)>,
    stop: watch::Receiver<bool>,
) -> Ending {
    let slot = Arc::clone(&connection.slot);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEAD_LENGTH_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service(connection, routes));
    // hyper itself closes a connection whose next request does not come in time.
    drive(Box::pin(serving), &slot, HTTP1_STUCK_TIMEOUT, stop).await
}

async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: Connection,
    routes: BoxedFilter<(Response,)>,
    stop: watch::Receiver<bool>,
) -> Ending {
    let slot = Arc::clone(&connection.slot);
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_LENGTH_MAX).unwrap_or(u32::MAX))
        .initial_connection_window_size(HTTP2_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_send_buf_size(SEND_BUFFER_MAX)
        .keep_alive_interval(IDLE_TIMEOUT)
        .keep_alive_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service(connection, routes));
    drive(Box::pin(serving), &slot, HTTP2_IDLE_TIMEOUT, stop).await
}

/// The content of a request, which begins the service's turn when it has come whole.
struct Content {
    incoming: Incoming,
    turn: Arc<Turn>,
}

impl Content {
    fn new(incoming: Incoming, turn: Arc<Turn>) -> Self {
        if incoming.is_end_stream() {
            turn.begin();
        }
        Self { incoming, turn }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.incoming.is_end_stream() {
            self.turn.begin();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The routes, told which connection each request came over.
fn service(
    connection: Connection,
    routes: BoxedFilter<(Response,)>,
) -> impl hyper::service::Service<
    http::Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send,
> {
    let routes = TowerToHyperService::new(warp::service(routes));
    service_fn(move |mut request: http::Request<Incoming>| {
        let turn = Arc::new(Turn::new(&connection.slot));
        let request_id: Arc<str> = random::request_id().into();
        let arrival = Arrival {
            request_id: Arc::clone(&request_id),
            peer: connection.peer,
            ambiguous: is_ambiguous(&request),
        };
        request.extensions_mut().insert(arrival);
        if request.uri().path_and_query().is_none() {
            // warp panics at a target that is a host alone, as of CONNECT.
            *request.uri_mut() = Uri::from_static("/");
        }
        // RFC 9112 §6.1: hyper lets the chunks win over a length and does not say that there was
        // one, so no request follows chunks, and none can be smuggled behind them.
        let closes = request.headers().contains_key(TRANSFER_ENCODING);
        let tls = connection.tls;
        let answer = routes.call(request.map(|content| Content::new(content, Arc::clone(&turn))));
        async move {
            let mut response = answer.await?;
            let headers = response.headers_mut();
            headers.insert("x-request-id", reply::text_value(&request_id));
            if closes {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if tls {
                // RFC 6797 §7.2: never over plain HTTP.
                let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
                headers.insert(STRICT_TRANSPORT_SECURITY, year);
            }
            // However much of the request came: from here on it is the caller's turn anew.
            turn.begin();
            drop(turn);
            Ok(response)
        }
    })
}

/// RFC 9112 §3.2: a request without exactly one valid host, or with a host for its target.
fn is_ambiguous(request: &http::Request<Incoming>) -> bool {
    if request.uri().path_and_query().is_none() {
        return true;
    }
    if request.version() > Version::HTTP_11 {
        return false;
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => !is_host(host),
        (None, _) => request.version() == Version::HTTP_11,
        (Some(_), Some(_)) => true,
    }
}

/// Whether a field value is a host, perhaps with a port (RFC 9110 §7.2), or empty.
fn is_host(value: &HeaderValue) -> bool {
    let octets = value.as_bytes();
    octets.is_empty()
        || (!octets.iter().any(|octet| matches!(octet, b'@' | b','))
            && Authority::try_from(octets).is_ok())
}

/// Runs a connection to its end: until it closes, was idle too long, has to give way, or the service
/// stops. It is boxed, because a task has room for the largest of all that it may come to do.
async fn drive<C>(
    mut serving: Pin<Box<C>>,
    slot: &Slot,
    idle_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) -> Ending
where
    C: GracefulConnection,
{
    loop {
        let look_again = slot.waits_since().unwrap_or_else(Instant::now) + idle_timeout;
        tokio::select! {
            _ = serving.as_mut() => return Ending::Done,
            () = stopped(&mut stop) => {
                finish(serving.as_mut()).await;
                return Ending::Done;
            }
            () = slot.gives_way() => match slot.waits_since() {
                Some(_) => return give_way(serving.as_mut(), slot).await,
                // Its caller went on just in time.
                None => continue,
            },
            () = sleep_until(look_again) => {}
        }
        if slot.waits_since().is_some_and(|since| since.elapsed() >= idle_timeout) {
            tokio::select! {
                _ = timeout(CLOSE_TIMEOUT, finish(serving.as_mut())) => return Ending::Done,
                () = slot.gives_way() => return Ending::GaveWay,
            }
        }
    }
}

/// Closes a connection that waits for its caller, at once unless a request comes in that moment.
async fn give_way<C: GracefulConnection>(mut serving: Pin<&mut C>, slot: &Slot) -> Ending {
    let closed = timeout(Duration::ZERO, finish(serving.as_mut())).await;
    if closed.is_err() && slot.waits_since().is_none() {
        timeout(IDLE_TIMEOUT, serving).await.ok();
    }
    Ending::GaveWay
}

/// Waits until the service is told to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
}

/// Lets a connection finish what is in flight and close.
async fn finish<C: GracefulConnection>(mut serving: Pin<&mut C>) {
    serving.as_mut().graceful_shutdown();
    serving.await.ok();
}
