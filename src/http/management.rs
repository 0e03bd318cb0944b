//! The management listener: liveness, readiness, metrics. Nothing of the protocol, no personal data.

use std::sync::Arc;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};
use tokio::task::spawn_blocking;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

use super::exchange::Arrival;
use super::metrics::{Format, Metrics, Now};
use super::reply;
use super::tls::Certificate;
use jeton_service::agreed_clock::AgreedClock;
use jeton_service::keys::Keys;
use jeton_service::readiness::Readiness;
use jeton_store::Store;

/// What the management listener needs.
#[derive(Debug)]
pub struct Management {
    /// How busy the database is.
    pub store: Store,
    /// How the keys stand.
    pub keys: Arc<Keys>,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// What time it is, and whether that is known.
    pub clock: Arc<AgreedClock>,
    /// The certificate of the public listener, if it speaks TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// Whether a login could succeed now.
    pub readiness: Readiness,
}

pub(super) fn routes(management: Arc<Management>) -> BoxedFilter<(Response,)> {
    // Any method but those that read is refused; the paths are compared exactly.
    warp::path::full()
        .and(warp::method())
        .and(warp::ext::optional::<Arrival>())
        .then(move |path: FullPath, method: http::Method, arrival: Option<Arrival>| {
            let management = Arc::clone(&management);
            async move {
                if !matches!(path.as_str(), "/livez" | "/readyz" | "/metrics") {
                    return reply::not_found();
                }
                if !matches!(method, http::Method::GET | http::Method::HEAD) {
                    return reply::method_not_allowed("GET, HEAD");
                }
                match path.as_str() {
                    "/livez" => text("alive\n", "text/plain; charset=utf-8"),
                    "/readyz" => management.readiness().await,
                    _ => {
                        let headers = arrival.map(|arrival| arrival.headers).unwrap_or_default();
                        let format = Format::preferred(&headers);
                        // To count 10,000 open files takes 10 ms, which others need not wait for.
                        let metrics = spawn_blocking(move || management.metrics(format));
                        metrics.await.unwrap_or_else(|_| reply::fault())
                    }
                }
            }
        })
        .boxed()
}

impl Management {
    /// Ready means: a login could succeed now.
    async fn readiness(&self) -> Response {
        let report = self.readiness.look().await;
        let status =
            if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        reply::json(status, &report)
    }

    fn metrics(&self, format: Format) -> Response {
        let now = Now {
            needs: &self.readiness.needs(),
            pool: self.store.pool_use(),
            keys: &self.keys.key_set(),
            health: self.keys.health(),
            certificate: self.certificate.as_ref().map(|certificate| certificate.validity()),
            time: self.clock.presumed_now(),
            clock_offset: self.clock.offset(),
        };
        let mut response = text(self.metrics.render(&now, format), format.media_type());
        response.headers_mut().insert(VARY, HeaderValue::from(ACCEPT));
        response
    }
}

fn text(content: impl Into<String>, media_type: &'static str) -> Response {
    let mut response = reply::with_defences(StatusCode::OK, content.into().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
