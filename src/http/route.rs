//! From a request to its handler and back: checks path, method, origin and content. A handler that changes something
//! runs to its end even if the caller hangs up. A panic ends its own request only.

use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Buf;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::timeout;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Stream};
use zeroize::Zeroizing;

use super::cors::CorsPolicy;
use super::document::Documents;
use super::exchange::Arrival;
use super::forwarded::{TrustedProxies, UNTOLD_FIELD};
use super::metrics::{Metrics, UnnamedLabels};
use super::reply;
use super::trace_context::TraceContext;
use jeton_oauth::{Reason, Seconds, SecretOctets};
use jeton_runtime::caller::{CallerConnection, Waiting};
use jeton_service::Refusal;
use jeton_service::throttle::origin::{Source, Untold};

/// The most octets of content. The largest honest form is a tenth of it.
const CONTENT_LENGTH_MAX: usize = 16 * 1_024;
/// How long the content may take to arrive.
const CONTENT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: Arc<str>,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) content: SecretOctets,
    pub(super) caller: CallerConnection,
    /// The addresses that it came from, as far as they can be trusted.
    pub(super) source: Source,
}

pub(super) struct Route {
    /// Its name in metrics and logs.
    pub(super) name: &'static str,
    pub(super) cors: CorsPolicy,
    pub(super) handler: Handler,
}

pub(super) enum Handler {
    /// GET and HEAD: a document in memory.
    Document(Documents),
    /// POST: a form that changes nothing. Dropped when the caller hangs up.
    Query(FormHandler),
    /// POST: a form that changes something. Once begun, it runs to its end.
    Command(FormHandler),
}

pub(super) type FormHandler = Box<dyn Fn(Request) -> Answering + Send + Sync>;

pub(super) type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

impl Handler {
    /// The methods, except OPTIONS.
    fn methods(&self) -> &'static [Method] {
        match self {
            Self::Document(_) => &[Method::GET, Method::HEAD],
            Self::Query(_) | Self::Command(_) => &[Method::POST],
        }
    }

    fn allow(&self) -> &'static str {
        match self {
            Self::Document(_) => "GET, HEAD, OPTIONS",
            Self::Query(_) | Self::Command(_) => "POST, OPTIONS",
        }
    }
}

/// The routes by path. They are compared exactly: after a redirect a client would send its credentials again.
pub(super) struct Table {
    pub(super) routes: HashMap<String, Route>,
    /// Who may read the 404 of other paths.
    pub(super) elsewhere: CorsPolicy,
    pub(super) metrics: Arc<Metrics>,
    pub(super) trusted_proxies: TrustedProxies,
}

impl Table {
    /// The table as a filter. It answers everything, so no rejection of warp's reaches a caller.
    pub(super) fn into_filter(self) -> BoxedFilter<(Response,)> {
        let table = Arc::new(self);
        table.routes.values().for_each(|route| table.metrics.announce_route(route.name));
        warp::path::full()
            .and(warp::method())
            .and(warp::ext::optional::<Arrival>())
            .and(warp::body::stream())
            .then(move |path: FullPath, method, arrival, content| {
                let table = Arc::clone(&table);
                async move {
                    let route = table.routes.get(path.as_str());
                    table.answer(route, method, arrival, content).await
                }
            })
            .boxed()
    }

    async fn answer(
        &self,
        route: Option<&Route>,
        method: Method,
        arrival: Option<Arrival>,
        content: impl Stream<Item = Result<impl Buf, warp::Error>>,
    ) -> Response {
        let mut began = Instant::now();
        let headers = arrival.as_ref().map(|arrival| Arc::clone(&arrival.headers));
        let headers = headers.unwrap_or_default();
        let reader = route.map_or(&self.elsewhere, |route| &route.cors).reader(&headers);
        let mut response = match arrival {
            Some(arrival) if arrival.ambiguous => {
                let description = "A request names exactly one host, and a path.";
                let status = StatusCode::BAD_REQUEST;
                closing(reply::error(status, "invalid_request", description))
            }
            arrival => {
                let peer = arrival.as_ref().map(|arrival| arrival.peer);
                let believe = |peer| self.trusted_proxies.source(peer, &headers);
                let source = peer.map(believe).unwrap_or_default();
                let id = arrival.map_or_else(|| "".into(), |arrival| arrival.request_id);
                let untold =
                    source.untold.filter(|_| route.is_some_and(|route| route.is_form(&method)));
                self.count_unnamed_caller(untold, source, &id);
                let mut response = match route {
                    Some(route) => {
                        route.answer(&method, headers, content, id, source, &mut began).await
                    }
                    None => reply::not_found(),
                };
                if let Some(untold) = untold {
                    let label = HeaderValue::from_static(untold.label());
                    response.headers_mut().insert(UNTOLD_FIELD, label);
                }
                response
            }
        };
        reader.decorate(route.map_or(&[], |route| route.handler.methods()), &mut response);
        let route = route.map_or("none", |route| route.name);
        self.metrics.count_answer(route, response.status(), began.elapsed());
        response
    }

    /// Counts a form whose caller a trusted proxy should have named, and logs a warning once. Documents do not count:
    /// they are the same for everyone, and health checks ask for them without the field.
    fn count_unnamed_caller(&self, untold: Option<Untold>, source: Source, request_id: &str) {
        if let (Some(untold @ (Untold::Missing | Untold::Unreadable)), Some(proxy)) =
            (untold, source.address)
        {
            let labels = UnnamedLabels { why: untold.label() };
            self.metrics.unnamed_callers.get_or_create(&labels).inc();
            self.trusted_proxies.warn_once(untold, proxy, request_id);
        }
    }
}

impl Route {
    /// Whether a request with this method is a form, whose caller must be known for throttling.
    fn is_form(&self, method: &Method) -> bool {
        *method == Method::POST && self.handler.methods().contains(method)
    }

    /// Checks method, origin and content, then runs the handler. For a request with content `began` is set when the
    /// content has come: the time before is the caller's.
    async fn answer(
        &self,
        method: &Method,
        headers: Arc<HeaderMap>,
        content: impl Stream<Item = Result<impl Buf, warp::Error>>,
        id: Arc<str>,
        source: Source,
        began: &mut Instant,
    ) -> Response {
        if *method == Method::OPTIONS {
            let mut response = reply::empty(StatusCode::NO_CONTENT);
            let allow = HeaderValue::from_static(self.handler.allow());
            response.headers_mut().insert(ALLOW, allow);
            return response;
        }
        if !self.handler.methods().contains(method) {
            return reply::method_not_allowed(self.handler.allow());
        }
        if self.cors.refuses(&headers) {
            self.report(Reason::ForeignOrigin.label(), &id, &headers, source);
            return reply::refusal(&Refusal::Forbidden(Reason::ForeignOrigin));
        }
        let (handler, is_command) = match &self.handler {
            Handler::Document(documents) => {
                return documents.answer(&headers, *method == Method::HEAD);
            }
            Handler::Query(handler) => (handler, false),
            Handler::Command(handler) => (handler, true),
        };
        let content = match receive(&headers, content).await {
            Ok(content) => content,
            Err(why) => {
                self.report(why.label(), &id, &headers, source);
                return why.reply();
            }
        };
        *began = Instant::now();
        // Dropped when the caller hangs up.
        let waiting = Waiting::default();
        let caller = waiting.caller();
        let request =
            Request { id: Arc::clone(&id), headers: Arc::clone(&headers), content, caller, source };
        let answering = handler(request);
        let outcome = if is_command {
            // In a task of its own, so a caller that hangs up cancels nothing half-way.
            let mut task = tokio::spawn(answering);
            let outcome = timeout(ANSWER_TIMEOUT, &mut task).await.map(Result::ok);
            // After the timeout this ends the task. A task that has ended is not affected.
            task.abort();
            outcome
        } else {
            timeout(ANSWER_TIMEOUT, isolated(answering)).await
        };
        match outcome {
            Ok(Some(response)) => response,
            // The panic itself was logged where it happened.
            Ok(None) => {
                let (trace_id, parent_id) = TraceContext::ids(&headers);
                let route = self.name;
                tracing::error!(request_id = %id, trace_id, parent_id, route, "the handler panicked");
                reply::fault()
            }
            Err(_) => {
                let (trace_id, parent_id) = TraceContext::ids(&headers);
                let route = self.name;
                tracing::error!(request_id = %id, trace_id, parent_id, route, "no answer in time");
                reply::unavailable(Seconds::new(1))
            }
        }
    }
}

impl Route {
    /// Logs a request that was refused before its handler ran (ASVS 16.3.3).
    fn report(&self, reason: &str, request_id: &str, headers: &HeaderMap, source: Source) {
        let (trace_id, parent_id) = TraceContext::ids(headers);
        let source = source.address.map(|address| address.to_string()).unwrap_or_default();
        tracing::info!(
            target: "jeton::audit",
            event = "request_refused", reason, route = self.name, request_id, trace_id, parent_id,
            client_id = "", user_id = "", session_id = "", source
        );
    }
}

/// Completes an answer; `None` if it panics.
async fn isolated(mut answering: Answering) -> Option<Response> {
    std::future::poll_fn(|context| {
        let poll = AssertUnwindSafe(|| answering.as_mut().poll(context));
        catch_unwind(poll).map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
    .await
}

enum NotReceived {
    Refused(Reason),
    TooLarge,
    TooLate,
    Broken,
}

impl NotReceived {
    /// The stable word for the log.
    fn label(&self) -> &'static str {
        match self {
            Self::Refused(reason) => reason.label(),
            Self::TooLarge => "content_too_large",
            Self::TooLate => "content_too_late",
            Self::Broken => "content_broken",
        }
    }

    /// The answer. The rest of the content is not read, so the connection is closed.
    fn reply(self) -> Response {
        let (status, description) = match self {
            Self::Refused(reason) => return reply::refusal(&Refusal::Protocol(reason)),
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "The content is larger than any request needs.")
            }
            Self::TooLate => (StatusCode::REQUEST_TIMEOUT, "The content did not arrive in time."),
            Self::Broken => (StatusCode::BAD_REQUEST, "The content did not arrive whole."),
        };
        closing(reply::error(status, "invalid_request", description))
    }
}

/// Receives the content of a request, if it is a form and arrives whole, in time and within the limit.
async fn receive(
    headers: &HeaderMap,
    content: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<SecretOctets, NotReceived> {
    check_media_type(headers).map_err(NotReceived::Refused)?;
    if announced_length(headers) > CONTENT_LENGTH_MAX {
        // Refused without waiting for it (RFC 9110 §15.5.14).
        return Err(NotReceived::TooLarge);
    }
    timeout(CONTENT_TIMEOUT, read(content)).await.unwrap_or(Err(NotReceived::TooLate))
}

/// Requires exactly one `Content-Type`, that of a form, and no encoding (RFC 6749 §4.3.2).
fn check_media_type(headers: &HeaderMap) -> Result<(), Reason> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Reason::EncodedContent);
    }
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (lines.next(), lines.next()) else {
        return Err(Reason::UnsupportedMediaType);
    };
    // Parameters do not matter (RFC 9110 §8.3.1), but a list is not a media type.
    let text = only.to_str().unwrap_or_default();
    let media_type = text.split(';').next().unwrap_or_default().trim();
    let is_form = media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if is_form && !text.contains(',') { Ok(()) } else { Err(Reason::UnsupportedMediaType) }
}

/// The length of the content, if the head states it.
fn announced_length(headers: &HeaderMap) -> usize {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    announced.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Reads the content up to the limit, whatever its framing. Memory is allocated as it arrives, so a caller that
/// announces much and sends little takes little.
async fn read(
    content: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<SecretOctets, NotReceived> {
    let mut content = pin!(content);
    let mut whole = Zeroizing::new(Vec::new());
    while let Some(chunk) =
        std::future::poll_fn(|context| content.as_mut().poll_next(context)).await
    {
        let mut chunk = chunk.map_err(|_| NotReceived::Broken)?;
        if whole.len() + chunk.remaining() > CONTENT_LENGTH_MAX {
            return Err(NotReceived::TooLarge);
        }
        reserve(&mut whole, chunk.remaining());
        while chunk.has_remaining() {
            let part = chunk.chunk();
            whole.extend_from_slice(part);
            let length = part.len();
            chunk.advance(length);
        }
    }
    Ok(SecretOctets::new(whole))
}

/// Reserves capacity. A vector that grows by itself would leave passwords in its old memory, so it is copied and wiped.
fn reserve(octets: &mut Zeroizing<Vec<u8>>, more: usize) {
    let needed = octets.len() + more;
    if needed > octets.capacity() {
        let mut roomier = Vec::with_capacity(needed.next_power_of_two());
        roomier.extend_from_slice(octets);
        *octets = Zeroizing::new(roomier);
    }
}

/// Closes the connection after this response.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Context;

    use super::*;

    struct Once(Option<&'static [u8]>);

    impl Stream for Once {
        type Item = Result<&'static [u8], warp::Error>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.take().map(Ok))
        }
    }

    /// Panics at every second request, with or without having waited before.
    fn panics_at_every_second(waits: bool) -> FormHandler {
        let count = AtomicUsize::new(0);
        Box::new(move |request| {
            let turn = count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                if waits {
                    tokio::task::yield_now().await;
                }
                assert!(
                    turn.is_multiple_of(2) && request.content.expose() == b"a=b",
                    "out of temper"
                );
                reply::empty(StatusCode::OK)
            })
        })
    }

    /// ASVS 16.5.4: no input is known to make a handler panic. If one does, only its request gets a 500. [S-26]
    #[tokio::test]
    async fn a_panic_ends_its_own_request_only() {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = Arc::new(HeaderMap::from_iter([(CONTENT_TYPE, form)]));
        for waits in [false, true] {
            for handler in [
                Handler::Query(panics_at_every_second(waits)),
                Handler::Command(panics_at_every_second(waits)),
            ] {
                let route = Route { name: "moody", cors: CorsPolicy::Nobody, handler };
                for status in [200, 500, 200, 500] {
                    let content = Once(Some(b"a=b"));
                    let (headers, id) = (Arc::clone(&headers), Arc::from("id"));
                    let (source, mut began) = (Source::default(), Instant::now());
                    let answer =
                        route.answer(&Method::POST, headers, content, id, source, &mut began).await;
                    assert_eq!(answer.status(), status, "waits: {waits}");
                }
            }
        }
    }
}
