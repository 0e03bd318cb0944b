//! One connection from its handshake to its end: the protocol, its limits, and who closes it.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::exchange::service;
use super::lingering::Lingering;
use super::server::Stage;
use super::slots::Slot;
use crate::TrustedProxy;

/// How long a TLS handshake may take, and also a request that arrives while its connection is being closed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the other end of an HTTP/2 connection is pinged, and how long it may take to reply.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// The most octets that the head of a request may have.
const HEAD_LENGTH_MAX: usize = 16 * 1_024;
pub(super) const HEADERS_MAX: usize = 64;
/// How many requests one HTTP/2 connection may have in progress.
const STREAMS_MAX: u32 = 100;
/// How many octets of content an HTTP/2 connection, and each of its streams, may send before they are read.
const HTTP2_WINDOW: u32 = 65_535;
const STREAM_WINDOW: u32 = 16 * 1_024;
/// How many octets of its answers an HTTP/2 stream may have waiting to be taken.
const SEND_BUFFER_MAX: usize = 64 * 1_024;
/// How long a connection may take to close once it was told to.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long connections without a request in progress are kept open.
#[derive(Clone, Debug)]
pub struct IdleTimes {
    /// Connections from `proxies`.
    pub of_proxies: Duration,
    /// The networks of proxies.
    pub proxies: Vec<TrustedProxy>,
    /// All other connections.
    pub of_others: Duration,
}

impl IdleTimes {
    pub(super) fn of(&self, peer: IpAddr) -> Duration {
        let is_proxy = self.proxies.iter().any(|network| network.contains(peer));
        if is_proxy { self.of_proxies } else { self.of_others }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) peer: IpAddr,
    /// How long it may have no request in progress. In HTTP/1.1 this includes receiving the head of the next request.
    pub(super) idle_time: Duration,
    /// The value of `Strict-Transport-Security`, if the connection is encrypted.
    pub(super) strict_transport: Option<&'static str>,
    pub(super) slot: Arc<Slot>,
    /// How far its listener is with stopping.
    pub(super) stage: watch::Receiver<Stage>,
}

impl Connection {
    /// Waits until the listener has reached a stage.
    pub(super) async fn stage(&self, stage: Stage) {
        // If the listener has gone, no stage follows.
        self.stage.clone().wait_for(|now| *now >= stage).await.ok();
    }

    pub(super) fn is_at(&self, stage: Stage) -> bool {
        *self.stage.borrow() >= stage
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Either side closed it.
    Done,
    /// Another connection needed its slot.
    GaveWay,
}

/// Serves a connection until it ends.
pub(super) async fn converse(
    stream: TcpStream,
    connection: Connection,
    tls: Option<TlsAcceptor>,
    routes: BoxedFilter<(Response,)>,
) -> Ending {
    stream.set_nodelay(true).ok();
    let stream = Lingering::new(stream, Arc::clone(&connection.slot));
    let Some(acceptor) = tls else {
        return serve_http1(stream, connection, routes).await;
    };
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_TIMEOUT, Box::pin(acceptor.accept(stream))) => shaken,
        () = connection.slot.evicted() => return Ending::GaveWay,
        () = connection.stage(Stage::Closing) => return Ending::Done,
    };
    let Ok(Ok(stream)) = shaken else { return Ending::Done };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_http2(stream, connection, routes).await
    } else {
        serve_http1(stream, connection, routes).await
    }
}

async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: Connection,
    routes: BoxedFilter<(Response,)>,
) -> Ending {
    let serving = http1::Builder::new()
        // hyper would use a timer for each request. `drive` has one for the connection.
        .header_read_timeout(None)
        .max_buf_size(HEAD_LENGTH_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service(connection.clone(), routes));
    // While the listener drains, each answer closes its connection. Earlier, a request could be on its way.
    drive(Box::pin(serving), &connection, Duration::ZERO, Stage::Closing).await
}

async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: Connection,
    routes: BoxedFilter<(Response,)>,
) -> Ending {
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_LENGTH_MAX).unwrap_or(u32::MAX))
        .initial_connection_window_size(HTTP2_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_send_buf_size(SEND_BUFFER_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .serve_connection(TokioIo::new(stream), service(connection.clone(), routes));
    // RFC 9113 §6.8: GOAWAY tells the caller which requests will be answered, so it is sent as soon as possible.
    drive(Box::pin(serving), &connection, CLOSE_TIMEOUT, Stage::Draining).await
}

/// Runs a connection to its end: until it closes, is idle for too long or evicted, or its listener reaches stage
/// `last`. A connection that is idle for too long may still answer a request that comes within `farewell`.
///
/// Boxed, because a task reserves memory for the largest state that it may reach.
async fn drive<C>(
    mut serving: Pin<Box<C>>,
    connection: &Connection,
    farewell: Duration,
    last: Stage,
) -> Ending
where
    C: GracefulConnection,
{
    let (slot, idle_time) = (&connection.slot, connection.idle_time);
    // The handshake does not count as idle time.
    let begun = Instant::now();
    let idle_since = || slot.idle_since().map(|since| since.max(begun));
    loop {
        let look_again = idle_since().unwrap_or_else(Instant::now) + idle_time;
        tokio::select! {
            _ = serving.as_mut() => return Ending::Done,
            () = connection.stage(last) => {
                finish(serving.as_mut()).await;
                return Ending::Done;
            }
            () = slot.evicted() => match slot.waits_since() {
                Some(_) => {
                    close(serving.as_mut(), slot, Duration::ZERO).await;
                    return Ending::GaveWay;
                }
                // A request arrived just in time.
                None => continue,
            },
            () = sleep_until(look_again) => {}
        }
        if idle_since().is_some_and(|since| since.elapsed() >= idle_time) {
            tokio::select! {
                () = close(serving.as_mut(), slot, farewell) => return Ending::Done,
                () = slot.evicted() => return Ending::GaveWay,
            }
        }
    }
}

/// Closes a connection that waits for its caller. If a request comes within `farewell`, it is answered first.
async fn close<C: GracefulConnection>(mut serving: Pin<&mut C>, slot: &Slot, farewell: Duration) {
    let closed = timeout(farewell, finish(serving.as_mut())).await;
    if closed.is_err() && slot.waits_since().is_none() {
        timeout(HANDSHAKE_TIMEOUT, serving).await.ok();
    }
}

/// Answers the requests in progress, then closes the connection.
async fn finish<C: GracefulConnection>(mut serving: Pin<&mut C>) {
    serving.as_mut().graceful_shutdown();
    serving.await.ok();
}
