//! The accept loop: what a server at the open door needs and warp's own does not have. Limits on
//! connections, on the time that headers and handshakes may take, and on the time to stop.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, HOST, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::reply;
use crate::crypto::random;

/// How long a TLS handshake, or the headers of a request, may take; and how long a connection may
/// stay open between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle HTTP/2 connection may stay.
const HTTP2_IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The most octets that the head of a request may have.
const HEAD_LENGTH_MAX: usize = 16 * 1_024;
/// The most header fields that a request may have.
const HEADERS_MAX: usize = 64;
/// How many requests one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 100;
/// How long to wait after the system had no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
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

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
struct Connection {
    peer: IpAddr,
    tls: bool,
}

/// A listener and what it serves.
pub struct Server {
    /// Already bound.
    pub listener: TcpListener,
    /// TLS, or plain.
    pub tls: Option<TlsAcceptor>,
    /// How many connections are open at once; more wait in the kernel.
    pub max_connections: usize,
    /// How many are.
    pub open_connections: Gauge,
}

impl Server {
    /// Serves until told to stop; then takes no more connections, and gives those that are open so
    /// long to finish what is in flight.
    pub async fn serve(
        self,
        routes: BoxedFilter<(Response,)>,
        mut stop: watch::Receiver<bool>,
        drain: Duration,
    ) {
        let slots = Arc::new(Semaphore::new(self.max_connections));
        loop {
            let accept = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, self.listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                accepted = accept => accepted,
                () = stopped(&mut stop) => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (tls, routes, stop) = (self.tls.clone(), routes.clone(), stop.clone());
            let open = self.open_connections.clone();
            tokio::spawn(async move {
                open.inc();
                converse(stream, address.ip().to_canonical(), tls, routes, stop).await;
                open.dec();
                drop(slot);
            });
        }
        drop(self.listener);
        let everyone = u32::try_from(self.max_connections).unwrap_or(u32::MAX);
        if timeout(drain, slots.acquire_many(everyone)).await.is_err() {
            tracing::warn!("connections were still open when the time to stop was over");
        }
    }
}

/// Speaks with one caller until either side has enough.
async fn converse(
    stream: TcpStream,
    peer: IpAddr,
    tls: Option<TlsAcceptor>,
    routes: BoxedFilter<(Response,)>,
    stop: watch::Receiver<bool>,
) {
    stream.set_nodelay(true).ok();
    let connection = Connection { peer, tls: tls.is_some() };
    let Some(acceptor) = tls else {
        return serve_http1(stream, connection, routes, stop).await;
    };
    let Ok(Ok(stream)) = timeout(IDLE_TIMEOUT, acceptor.accept(stream)).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_http2(stream, connection, routes, stop).await;
    } else {
        serve_http1(stream, connection, routes, stop).await;
    }
}

async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: Connection,
    routes: BoxedFilter<(Response,)>,
    stop: watch::Receiver<bool>,
) {
    let activity = Activity::default();
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEAD_LENGTH_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service(connection, routes, activity.clone()));
    // hyper itself closes a connection whose next request does not come in time.
    drive(serving, &activity, IDLE_TIMEOUT * 2, stop).await;
}

async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: Connection,
    routes: BoxedFilter<(Response,)>,
    stop: watch::Receiver<bool>,
) {
    let activity = Activity::default();
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_LENGTH_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(IDLE_TIMEOUT)
        .keep_alive_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service(connection, routes, activity.clone()));
    drive(serving, &activity, HTTP2_IDLE_TIMEOUT, stop).await;
}

/// How many requests of a connection are under way, and how many there ever were.
#[derive(Clone, Debug, Default)]
struct Activity {
    under_way: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

/// Counts a request as under way until dropped.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The routes, told which connection each request came over.
fn service(
    connection: Connection,
    routes: BoxedFilter<(Response,)>,
    activity: Activity,
) -> impl hyper::service::Service<
    http::Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send,
> {
    let routes = TowerToHyperService::new(warp::service(routes));
    service_fn(move |mut request: http::Request<Incoming>| {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(Arc::clone(&activity.under_way));
        let request_id: Arc<str> = random::request_id().into();
        let arrival = Arrival {
            request_id: Arc::clone(&request_id),
            peer: connection.peer,
            ambiguous: is_ambiguous(&request),
        };
        request.extensions_mut().insert(arrival);
        // RFC 9112 §6.1: hyper lets the chunks win over a length and does not say that there was
        // one, so no request follows chunks, and none can be smuggled behind them.
        let closes = request.headers().contains_key(TRANSFER_ENCODING);
        let answer = routes.call(request);
        async move {
            let mut response = answer.await?;
            let headers = response.headers_mut();
            headers.insert("x-request-id", reply::text_value(&request_id));
            if closes {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if connection.tls {
                // RFC 6797 §7.2: never over plain HTTP.
                let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
                headers.insert(STRICT_TRANSPORT_SECURITY, year);
            }
            drop(under_way);
            Ok(response)
        }
    })
}

/// RFC 9112 §3.2: a request without exactly one valid host.
fn is_ambiguous(request: &http::Request<Incoming>) -> bool {
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

/// Runs a connection to its end: until it closes, was idle too long, or the service stops.
async fn drive<C>(
    serving: C,
    activity: &Activity,
    idle_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) where
    C: GracefulConnection,
{
    let mut serving = pin!(serving);
    let mut begun = 0;
    loop {
        tokio::select! {
            _ = serving.as_mut() => return,
            () = stopped(&mut stop) => return finish(serving).await,
            () = sleep_until(Instant::now() + idle_timeout) => {}
        }
        let so_far = activity.begun.load(Ordering::Relaxed);
        if activity.under_way.load(Ordering::Relaxed) == 0 && so_far == begun {
            timeout(CLOSE_TIMEOUT, finish(serving)).await.ok();
            return;
        }
        begun = so_far;
    }
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
