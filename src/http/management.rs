//! The management listener: liveness, readiness, metrics. Nothing of the protocol, no personal data.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::watch;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

use super::metrics::{Metrics, Now};
use super::reply;
use super::tls::Certificate;
use crate::endpoint::agreed_clock::AgreedClock;
use crate::endpoint::keys::Keys;
use crate::store::Store;
use crate::supervision::Health;

/// What the management listener needs.
#[derive(Debug)]
pub struct Management {
    /// Whether the database answers, and how busy it is.
    pub store: Store,
    /// Whether keys can sign, derive and count.
    pub keys: Arc<Keys>,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// What time it is, and whether that is known.
    pub clock: Arc<AgreedClock>,
    /// The certificate of the public listener, if it speaks TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// Which parts of the service are down.
    pub health: Health,
    /// Whether the service was told to stop.
    pub draining: watch::Receiver<bool>,
}

/// The answer of `/readyz`.
#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    database: &'static str,
    signing_key: &'static str,
    refresh_key: &'static str,
    throttle_key: &'static str,
    /// How many keys are of use and cannot be opened here.
    keys_unusable: usize,
    clock: &'static str,
    /// By how much the clock is ahead of the second one; negative if it is behind.
    clock_offset_seconds: f64,
    /// The parts of the service that failed and do not work again yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts_down: Vec<String>,
    /// How old what is known of the keys is.
    keys_age_seconds: i64,
    /// For how long the key set is said to be good.
    jwks_max_age_seconds: i64,
}

pub(super) fn routes(management: Arc<Management>) -> BoxedFilter<(Response,)> {
    // Any method but those that read is refused; the paths are compared exactly.
    warp::path::full()
        .and(warp::method())
        .then(move |path: FullPath, method: http::Method| {
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
                    _ => management.metrics(),
                }
            }
        })
        .boxed()
}

impl Management {
    /// Ready means: a login could succeed now.
    async fn readiness(&self) -> Response {
        let database = self.store.ping().await.is_ok();
        let clock = self.clock.now().is_ok();
        let parts_down: Vec<_> =
            self.health.down().into_iter().map(|down| down.part.to_string()).collect();
        let keys = self.keys.health();
        let keys_work = keys.signs && keys.derives && keys.counts;
        let stopping = *self.draining.borrow();
        let ready = database && clock && keys_work && parts_down.is_empty() && !stopping;
        let key = |usable| if usable { "usable" } else { "missing" };
        let body = Readiness {
            status: match (ready, stopping) {
                (true, _) => "ready",
                (false, true) => "stopping",
                (false, false) => "not ready",
            },
            database: if database { "reachable" } else { "unreachable" },
            signing_key: key(keys.signs),
            refresh_key: key(keys.derives),
            throttle_key: key(keys.counts),
            keys_unusable: keys.unusable,
            clock: if clock { "agrees" } else { "off" },
            clock_offset_seconds: self.clock.offset(),
            parts_down,
            keys_age_seconds: keys.age.get(),
            jwks_max_age_seconds: keys.jwks_max_age.get(),
        };
        reply::json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body)
    }

    fn metrics(&self) -> Response {
        let page = self.metrics.render(&Now {
            pool: self.store.pool_use(),
            keys: &self.keys.ring(),
            health: self.keys.health(),
            certificate: self.certificate.as_ref().map(|certificate| certificate.validity()),
            time: self.clock.presumed_now(),
            clock_offset: self.clock.offset(),
        });
        text(page, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    }
}

fn text(content: impl Into<String>, media_type: &'static str) -> Response {
    let mut response = reply::with_defences(StatusCode::OK, content.into().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
