//! The one way from a request to a handler and back: exact path, method, origin, bounded content,
//! and a handler that runs to its end whatever the caller or a bug does.

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::timeout;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Stream};

use super::cors::CorsPolicy;
use super::metrics::{Metrics, RequestLabels};
use super::reply;
use super::server::Arrival;
use crate::clock::Seconds;
use crate::endpoint::Refusal;
use crate::oauth::Reason;
use crate::presence::{Presence, Waiting};

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
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) content: Bytes,
    pub(super) caller: Presence,
    /// Where it came from, as far as that is believed.
    pub(super) source: Option<IpAddr>,
}

/// What a path is.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// Compared exactly: a redirect would make a client send its credentials again.
    pub(super) path: String,
    /// Its name in metrics and logs.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) cors: CorsPolicy,
}

/// What a route serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A document: GET and HEAD.
    Document,
    /// A form: POST.
    Form,
}

impl Kind {
    /// The methods, beside OPTIONS.
    fn methods(self) -> &'static [Method] {
        match self {
            Self::Document => &[Method::GET, Method::HEAD],
            Self::Form => &[Method::POST],
        }
    }

    /// The value of `Allow`.
    fn allow(self) -> &'static str {
        match self {
            Self::Document => "GET, HEAD, OPTIONS",
            Self::Form => "POST, OPTIONS",
        }
    }
}

/// Makes a route of a handler.
pub(super) fn route<H, F>(
    route: Route,
    metrics: Arc<Metrics>,
    trusted: Arc<super::forwarded::TrustedProxies>,
    handler: H,
) -> BoxedFilter<(Response,)>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let path = route.path.clone();
    let exact = warp::path::full().and_then(move |full: FullPath| {
        let matches = full.as_str() == path;
        async move { if matches { Ok(()) } else { Err(warp::reject::not_found()) } }
    });
    // From here on nothing rejects, so a rejection always means 404.
    exact
        .untuple_one()
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Arrival>())
        .and(warp::body::stream())
        .then(move |method, headers: HeaderMap, arrival: Option<Arrival>, content| {
            let (route, metrics, handler) = (route.clone(), Arc::clone(&metrics), handler.clone());
            let source = arrival.as_ref().map(|a| trusted.source(a.peer, &headers));
            async move {
                let is_ambiguous = arrival.as_ref().is_some_and(|arrival| arrival.ambiguous);
                let request = Request {
                    id: arrival.map_or_else(|| "".into(), |arrival| arrival.request_id),
                    method,
                    headers: headers.clone(),
                    content: Bytes::new(),
                    caller: Waiting::default().presence(),
                    source,
                };
                let mut response = if is_ambiguous {
                    ambiguous()
                } else {
                    answer(&route, request, content, handler).await
                };
                route.cors.decorate(&headers, route.kind.methods(), &mut response);
                let status = response.status().as_u16();
                metrics.requests.get_or_create(&RequestLabels { route: route.name, status }).inc();
                response
            }
        })
        .boxed()
}

/// What answers at every path that is no route's: 404, which a listed origin may read too.
pub(super) fn elsewhere(cors: CorsPolicy, metrics: Arc<Metrics>) -> BoxedFilter<(Response,)> {
    warp::header::headers_cloned()
        .and(warp::ext::optional::<Arrival>())
        .map(move |headers: HeaderMap, arrival: Option<Arrival>| {
            let mut response = match arrival {
                Some(arrival) if arrival.ambiguous => ambiguous(),
                _ => reply::not_found(),
            };
            cors.decorate(&headers, &[], &mut response);
            let status = response.status().as_u16();
            metrics.requests.get_or_create(&RequestLabels { route: "none", status }).inc();
            response
        })
        .boxed()
}

/// The refusal of a request that two readers could understand differently.
fn ambiguous() -> Response {
    let description = "A request names exactly one host.";
    closing(reply::error(StatusCode::BAD_REQUEST, "invalid_request", description))
}

/// Decides what can be decided without the handler, then runs it.
async fn answer<H, F>(
    route: &Route,
    mut request: Request,
    content: impl Stream<Item = Result<impl Buf, warp::Error>>,
    handler: H,
) -> Response
where
    H: Fn(Request) -> F,
    F: Future<Output = Response> + Send + 'static,
{
    let headers = &request.headers;
    if request.method == Method::OPTIONS {
        let mut response = reply::empty(StatusCode::NO_CONTENT);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.kind.allow()));
        return response;
    }
    if !route.kind.methods().contains(&request.method) {
        return reply::method_not_allowed(route.kind.allow());
    }
    if route.cors.refuses(headers) {
        return reply::refusal(&Refusal::Forbidden(Reason::ForeignOrigin));
    }
    if route.kind == Kind::Form {
        if let Err(reason) = check_media_type(headers) {
            return reply::refusal(&Refusal::Protocol(reason));
        }
        match timeout(CONTENT_TIMEOUT, read(content)).await {
            Ok(Ok(content)) => request.content = content,
            Ok(Err(response)) => return closing(response),
            Err(_) => {
                let description = "The content did not arrive in time.";
                let status = StatusCode::REQUEST_TIMEOUT;
                return closing(reply::error(status, "invalid_request", description));
            }
        }
    }
    // The handler runs in a task of its own: a caller that hangs up cancels nothing half-way, and
    // a panic ends this request and no other. `waiting` is dropped when the caller hangs up.
    let waiting = Waiting::default();
    request.caller = waiting.presence();
    let id = request.id.clone();
    match timeout(ANSWER_TIMEOUT, tokio::spawn(handler(request))).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!(request_id = %id, route = route.name, "the handler panicked");
            reply::fault()
        }
        Err(_) => {
            tracing::error!(request_id = %id, route = route.name, "no answer in time");
            reply::unavailable(Seconds::new(1))
        }
    }
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

/// Reads the content, whatever framing it has, up to the limit.
async fn read(
    content: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<Bytes, Response> {
    let mut content = pin!(content);
    let mut whole = BytesMut::new();
    while let Some(chunk) =
        std::future::poll_fn(|context| content.as_mut().poll_next(context)).await
    {
        let Ok(mut chunk) = chunk else {
            let description = "The content did not arrive whole.";
            return Err(reply::error(StatusCode::BAD_REQUEST, "invalid_request", description));
        };
        if whole.len() + chunk.remaining() > CONTENT_LENGTH_MAX {
            let description = "The content is larger than any request needs.";
            return Err(reply::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "invalid_request",
                description,
            ));
        }
        whole.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    Ok(whole.freeze())
}

/// Ends the connection after this response.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    response
}
