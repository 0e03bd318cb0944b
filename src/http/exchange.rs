//! One request on a connection: what happens before the routes see it, and to its answer.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, EXPECT, HOST, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;
use tokio::time::timeout;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::connection::{Connection, HEADERS_MAX};
use super::reply;
use super::request_memory::RequestMemory;
use super::server::Stage;
use super::slots::RequestUnderWay;
use jeton_crypto::random;
use jeton_oauth::Seconds;

/// The most octets of unread content that are discarded to keep the connection.
const DISCARDED_MAX: usize = 16 * 1_024;
/// How long these octets may take to arrive.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) headers: Arc<HeaderMap>,
    /// Its id, in the log and in `X-Request-Id`.
    pub(super) request_id: Arc<str>,
    pub(super) peer: IpAddr,
    /// Whether its host or target could be read in two ways.
    pub(super) ambiguous: bool,
}

/// The content of a request. When it is complete, the service's turn begins. If dropped before, the rest is kept.
struct Content {
    incoming: Option<Incoming>,
    under_way: Arc<RequestUnderWay>,
    memory: Arc<RequestMemory>,
    state: Arc<ContentState>,
}

#[derive(Default)]
struct ContentState {
    /// What the routes did not read.
    unread: Mutex<Option<Incoming>>,
    /// Notified when the request memory is used up. Then no more content is read.
    out_of_memory: Notify,
}

impl Content {
    /// The content of a request. If there is none, the service's turn begins immediately.
    fn new(
        incoming: Incoming,
        under_way: &Arc<RequestUnderWay>,
        memory: &Arc<RequestMemory>,
        state: &Arc<ContentState>,
    ) -> Self {
        let mut content = Self {
            incoming: Some(incoming),
            under_way: Arc::clone(under_way),
            memory: Arc::clone(memory),
            state: Arc::clone(state),
        };
        if content.is_end_stream() {
            content.end();
        }
        content
    }

    /// The content is complete, or no more will come.
    fn end(&mut self) {
        self.incoming = None;
        self.under_way.begin();
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && !self.memory.grow(frame.data_ref().map_or(0, Bytes::len))
        {
            self.state.out_of_memory.notify_one();
            return Poll::Pending;
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.is_end_stream() {
            self.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Some(rest) = self.incoming.take() {
            *self.state.unread() = Some(rest);
        }
    }
}

impl ContentState {
    fn unread(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The content of an answer. It keeps the memory of its request reserved until the caller has taken it.
pub(super) struct Answer {
    content: Pin<Box<dyn Body<Data = Bytes, Error = warp::Error> + Send>>,
    _memory: Arc<RequestMemory>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = warp::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, warp::Error>>> {
        self.content.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

/// Discards the rest of the content if it is short and comes soon. Returns whether its end was reached.
async fn discard(mut rest: Incoming) -> bool {
    if rest.size_hint().upper().is_none_or(|most| most > DISCARDED_MAX as u64) {
        return false;
    }
    let to_the_end = async {
        while let Some(frame) = poll_fn(|context| Pin::new(&mut rest).poll_frame(context)).await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    timeout(DISCARD_TIMEOUT, to_the_end).await.unwrap_or(false)
}

/// Answers the requests of a connection with the routes. Its only error refuses a stream.
pub(super) fn service(
    connection: Connection,
    routes: BoxedFilter<(Response,)>,
) -> impl Service<
    http::Request<Incoming>,
    Response = http::Response<Answer>,
    Error = h2::Error,
    Future = impl Future<Output = Result<http::Response<Answer>, h2::Error>> + Send + 'static,
> {
    let routes = TowerToHyperService::new(warp::service(routes));
    service_fn(move |request: http::Request<Incoming>| {
        // Boxed, so that a request without memory takes none, not even until it is polled.
        let answering = RequestMemory::new(&connection.slot, &request)
            .map(|memory| Box::pin(answer(connection.clone(), routes.clone(), request, memory)));
        async move {
            match answering {
                Some(answering) => answering.await,
                None => Err(refused()),
            }
        }
    })
}

/// RFC 9113 §8.7: nothing was done for this stream, so the caller may send it again.
fn refused() -> h2::Error {
    h2::Reason::REFUSED_STREAM.into()
}

async fn answer<R>(
    connection: Connection,
    routes: R,
    mut request: http::Request<Incoming>,
    memory: Arc<RequestMemory>,
) -> Result<http::Response<Answer>, h2::Error>
where
    R: Service<http::Request<Content>, Response = Response, Error = Infallible>,
{
    let under_way = Arc::new(RequestUnderWay::new(&connection.slot));
    let request_id = random::request_id();
    let (framing, ambiguous) = (Framing::of(&request), is_ambiguous(&request));
    let headers = Arc::new(std::mem::take(request.headers_mut()));
    let too_many_fields = headers.len() > HEADERS_MAX;
    let arrival =
        Arrival { headers, request_id: Arc::clone(&request_id), peer: connection.peer, ambiguous };
    request.extensions_mut().insert(arrival);
    if request.uri().path_and_query().is_none() {
        // warp panics at a target that is a host only, as of CONNECT.
        *request.uri_mut() = Uri::from_static("/");
    }
    let state = Arc::new(ContentState::default());
    let content = |incoming| Content::new(incoming, &under_way, &memory, &state);
    let mut response = {
        let mut answer = pin!(routes.call(request.map(content)));
        if too_many_fields {
            // hyper refuses them itself in HTTP/1.1; in HTTP/2 it limits only their length.
            reply::empty(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        } else if connection.is_at(Stage::Over) {
            // Requests in progress are answered, but none is begun this late.
            reply::unavailable(Seconds::new(1))
        } else if let Poll::Ready(Ok(response)) = poll_once(answer.as_mut()).await {
            // Usually a document: it is ready without waiting.
            response
        } else {
            tokio::select! {
                biased;
                () = connection.stage(Stage::Over) => reply::unavailable(Seconds::new(1)),
                () = state.out_of_memory.notified() => return Err(refused()),
                Ok(response) = answer => response,
            }
        }
    };
    let rest = state.unread().take();
    let headers = response.headers_mut();
    headers.insert(reply::REQUEST_ID, reply::text_value(&request_id));
    let is_closing = headers.contains_key(CONNECTION);
    if !framing.is_stream && closes(framing, is_closing, rest, &connection).await {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(policy) = connection.strict_transport {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(policy));
    }
    // The answer ends the service's turn even if content is still arriving.
    under_way.begin();
    drop(under_way);
    Ok(response.map(|content| Answer { content: Box::pin(content), _memory: memory }))
}

/// Polls a future once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Makes sure that the next request begins where this one ends, or returns `true`: the connection must close.
async fn closes(
    framing: Framing,
    is_closing: bool,
    rest: Option<Incoming>,
    connection: &Connection,
) -> bool {
    if is_closing || framing.chunked || connection.is_at(Stage::Draining) {
        return true;
    }
    match rest {
        None => false,
        Some(_) if framing.expects_continue => true,
        Some(rest) => {
            connection.slot.evict_first();
            !discard(rest).await
        }
    }
}

/// What the head of a request says about its content.
#[derive(Clone, Copy, Debug)]
struct Framing {
    /// RFC 9112 §6.1: if there are both chunks and a length, hyper uses the chunks and does not report the length. So
    /// no request may follow chunks, and none can be smuggled behind them.
    chunked: bool,
    /// RFC 9110 §10.1.1: the caller waits for `100 Continue`. After a refusal it may send the content or not, so nobody
    /// knows where the next request begins.
    expects_continue: bool,
    /// In HTTP/2 a request is a stream, which ends without its connection.
    is_stream: bool,
}

impl Framing {
    fn of(request: &http::Request<Incoming>) -> Self {
        Self {
            chunked: request.headers().contains_key(TRANSFER_ENCODING),
            expects_continue: request.headers().contains_key(EXPECT),
            is_stream: request.version() > Version::HTTP_11,
        }
    }
}

/// RFC 9112 §3.2: a request without exactly one valid host, or whose target is a host.
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

/// Whether a header value is empty, or a host with or without a port (RFC 9110 §7.2).
fn is_host(value: &HeaderValue) -> bool {
    let octets = value.as_bytes();
    octets.is_empty()
        || (!octets.iter().any(|octet| matches!(octet, b'@' | b','))
            && Authority::try_from(octets).is_ok())
}
