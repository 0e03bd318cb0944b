//! One connection, from its handshake to its end: which protocol is spoken, within which limits, and who closes
//! it.

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

/// How long a TLS handshake may take, and a request that comes when its connection is evicted.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the other end of an HTTP/2 connection is asked whether it is still there, and how long it may take to
/// say so.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// The most octets that the head of a request may have.
const HEAD_LENGTH_MAX: usize = 16 * 1_024;
/// The most header fields that a request may have.
pub(super) const HEADERS_MAX: usize = 64;
/// How many requests one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 100;
/// How much content an HTTP/2 connection may send ahead of what is read, and each stream of it.
const HTTP2_WINDOW: u32 = 65_535;
const STREAM_WINDOW: u32 = 16 * 1_024;
/// How much of its answers an HTTP/2 stream may have waiting to be taken.
const SEND_BUFFER_MAX: usize = 64 * 1_024;
/// How long a connection may take to close once it was told to.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// For how long connections are kept that have no request under way.
#[derive(Clone, Debug)]
pub struct IdleTimes {
    /// Those of proxies.
    pub of_proxies: Duration,
    /// Who is one.
    pub proxies: Vec<TrustedProxy>,
    /// Those of everybody else.
    pub of_others: Duration,
}

impl IdleTimes {
    /// That of a connection from an address.
    pub(super) fn of(&self, peer: IpAddr) -> Duration {
        let is_proxy = self.proxies.iter().any(|network| network.contains(peer));
        if is_proxy { self.of_proxies } else { self.of_others }
    }
}

/// A connection that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// The address of the other end.
    pub(super) peer: IpAddr,
    /// How long it may have no request under way. In HTTP/1.1 that is also how long the head of a request may take,
    /// from the answer before it.
    pub(super) idle_time: Duration,
    /// What is sent as `Strict-Transport-Security` if the connection is encrypted.
    pub(super) strict_transport: Option<&'static str>,
    pub(super) slot: Arc<Slot>,
    /// How far its listener is.
    pub(super) stage: watch::Receiver<Stage>,
}

impl Connection {
    /// Waits until the listener has come to a stage.
    pub(super) async fn stage(&self, stage: Stage) {
        // Without a listener nothing more is to be expected of it.
        self.stage.clone().wait_for(|now| *now >= stage).await.ok();
    }

    /// Whether the listener has come to a stage.
    pub(super) fn is_at(&self, stage: Stage) -> bool {
        *self.stage.borrow() >= stage
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Either side had enough.
    Done,
    /// Another needed its slot.
    GaveWay,
}

/// Speaks with one caller until either side has enough.
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
        // hyper would make a timer for each request. `drive` has one for the connection.
        .header_read_timeout(None)
        .max_buf_size(HEAD_LENGTH_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service(connection.clone(), routes));
    // While the listener drains, each answer says that it is the last; a connection that was closed before could
    // have a request on its way.
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
    // RFC 9113 §6.8: GOAWAY says which requests will be answered, so it comes as soon as possible.
    drive(Box::pin(serving), &connection, CLOSE_TIMEOUT, Stage::Draining).await
}

/// Runs a connection to its end: until it closes, was idle too long, has to be evicted, or its listener comes to
/// the stage in which such connections are told to close. One that was idle too long has the time of the farewell to
/// take leave of its caller. It is boxed, because a task has room for the largest of all that it may come to do.
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
    // The handshake does not count.
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
                // Its caller went on just in time.
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

/// Closes a connection that waits for its caller, after the farewell unless a request comes meanwhile.
async fn close<C: GracefulConnection>(mut serving: Pin<&mut C>, slot: &Slot, farewell: Duration) {
    let closed = timeout(farewell, finish(serving.as_mut())).await;
    if closed.is_err() && slot.waits_since().is_none() {
        timeout(HANDSHAKE_TIMEOUT, serving).await.ok();
    }
}

/// Lets a connection finish what is in flight and close.
async fn finish<C: GracefulConnection>(mut serving: Pin<&mut C>) {
    serving.as_mut().graceful_shutdown();
    serving.await.ok();
}
