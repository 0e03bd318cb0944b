//! The one way from a request to a handler and back: exact path, method, origin, bounded content,
//! and a handler that runs to its end whatever the caller or a bug does.

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
/// How long an answer may take, whatever happens behind it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A request as a handler sees it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: Arc<str>,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) content: SecretOctets,
    pub(super) caller: CallerConnection,
    /// Where it came from, as far as that is believed.
    pub(super) source: Source,
}

/// What is served at one path.
pub(super) struct Route {
    /// Its name in metrics and logs.
    pub(super) name: &'static str,
    pub(super) cors: CorsPolicy,
    pub(super) handler: Handler,
}

/// How a route answers, and by which methods.
pub(super) enum Handler {
    /// GET and HEAD: a document that is in memory.
    Document(Documents),
    /// POST: a form that asks and changes nothing. Dropped when the caller hangs up.
    Query(FormHandler),
    /// POST: a form that changes something. It runs to its end once it was begun.
    Command(FormHandler),
}

/// Answers a form.
pub(super) type FormHandler = Box<dyn Fn(Request) -> Answering + Send + Sync>;

/// An answer that is on its way.
pub(super) type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

impl Handler {
    /// The methods, beside OPTIONS.
    fn methods(&self) -> &'static [Method] {
        match self {
            Self::Document(_) => &[Method::GET, Method::HEAD],
            Self::Query(_) | Self::Command(_) => &[Method::POST],
        }
    }

    /// The value of `Allow`.
    fn allow(&self) -> &'static str {
        match self {
            Self::Document(_) => "GET, HEAD, OPTIONS",
            Self::Query(_) | Self::Command(_) => "POST, OPTIONS",
        }
    }
}

/// The routes by their paths, and what all of them share. Paths are compared exactly: a redirect
/// would make a client send its credentials again.
pub(super) struct Table {
    pub(super) routes: HashMap<String, Route>,
    /// Who may read that there is nothing at another path.
    pub(super) elsewhere: CorsPolicy,
    pub(super) metrics: Arc<Metrics>,
    pub(super) trusted_proxies: TrustedProxies,
}

impl Table {
    /// The table as a filter. It rejects nothing, so no rejection of warp's reaches a caller.
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
                self.notice(untold, source, &id);
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

    /// Counts a form whose caller a trusted proxy should have named, and warns of it once. Documents are the
    /// same for everyone, and what checks the health of a service asks for them without a field.
    fn notice(&self, untold: Option<Untold>, source: Source, request_id: &str) {
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
    /// Whether a request with this method brings a form, and so somebody who is to be counted.
    fn is_form(&self, method: &Method) -> bool {
        *method == Method::POST && self.handler.methods().contains(method)
    }

    /// Decides what can be decided without the handler, then runs it. What follows on the content began when that
    /// had come: the time before is the caller's.
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
            // A task of its own: a caller that hangs up cancels nothing half-way.
            let mut task = tokio::spawn(answering);
            let outcome = timeout(ANSWER_TIMEOUT, &mut task).await.map(Result::ok);
            // What was answered by now goes no further. That does nothing to a task that has ended.
            task.abort();
            outcome
        } else {
            timeout(ANSWER_TIMEOUT, isolated(answering)).await
        };
        match outcome {
            Ok(Some(response)) => response,
            // The panic itself was logged where it happened; it ends this request and no other.
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
    /// Logs that a request was refused before its content was looked at (ASVS 16.3.3).
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

/// Completes an answer, or nothing if it panics.
async fn isolated(mut answering: Answering) -> Option<Response> {
    std::future::poll_fn(|context| {
        let poll = AssertUnwindSafe(|| answering.as_mut().poll(context));
        catch_unwind(poll).map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
    .await
}

/// Why there is no form to hand to a handler.
enum NotReceived {
    Refused(Reason),
    TooLarge,
    TooLate,
    Broken,
}

impl NotReceived {
    /// A stable word for the log.
    fn label(&self) -> &'static str {
        match self {
            Self::Refused(reason) => reason.label(),
            Self::TooLarge => "content_too_large",
            Self::TooLate => "content_too_late",
            Self::Broken => "content_broken",
        }
    }

    /// The answer. What is left of the content is not read, so the connection ends with it.
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

/// Receives the form of a request, if it is one and arrives whole, in time and within bounds.
async fn receive(
    headers: &HeaderMap,
    content: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<SecretOctets, NotReceived> {
    check_media_type(headers).map_err(NotReceived::Refused)?;
    if announced_length(headers) > CONTENT_LENGTH_MAX {
        // None of it is waited for (RFC 9110 §15.5.14).
        return Err(NotReceived::TooLarge);
    }
    timeout(CONTENT_TIMEOUT, read(content)).await.unwrap_or(Err(NotReceived::TooLate))
}

/// Requires exactly one `Content-Type`, a form's, and no encoding (RFC 6749 §4.3.2).
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

/// How long the content will be, as far as its head says it.
fn announced_length(headers: &HeaderMap) -> usize {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    announced.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Reads the content, whatever framing it has, up to the limit. Room for it is taken as it comes: whoever
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
        evict_one(&mut whole, chunk.remaining());
        while chunk.has_remaining() {
            let part = chunk.chunk();
            whole.extend_from_slice(part);
            let length = part.len();
            chunk.advance(length);
        }
    }
    Ok(SecretOctets::new(whole))
}

/// Makes room for more octets. A vector that grows by itself would leave passwords behind in the memory that it
/// moves from, so its octets are copied and it is wiped.
fn evict_one(octets: &mut Zeroizing<Vec<u8>>, more: usize) {
    let needed = octets.len() + more;
    if needed > octets.capacity() {
        let mut roomier = Vec::with_capacity(needed.next_power_of_two());
        roomier.extend_from_slice(octets);
        *octets = Zeroizing::new(roomier);
    }
}

/// Ends the connection after this response.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Context;

    use super::*;

    /// A form that arrives in one piece.
    struct Once(Option<&'static [u8]>);

    impl Stream for Once {
        type Item = Result<&'static [u8], warp::Error>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.take().map(Ok))
        }
    }

    /// Panics at every second request, before or after it has waited for something.
    fn moody(waits: bool) -> FormHandler {
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

    /// ASVS 16.5.4: nothing that comes from outside is known to make a handler panic; one that does is
    /// a 500 for its request, and the next is served. [S-26]
    #[tokio::test]
    async fn a_panic_ends_its_own_request_only() {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = Arc::new(HeaderMap::from_iter([(CONTENT_TYPE, form)]));
        for waits in [false, true] {
            for handler in [Handler::Query(moody(waits)), Handler::Command(moody(waits))] {
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
