//! Cross-origin requests (the Fetch standard's CORS protocol).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method};
use warp::reply::Response;

use super::reply::text_value;
use jeton_oauth::CorsOrigin;

/// The request headers that pages of another origin may always set.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, X-Requested-With";
/// How many further headers a page may ask for, and how many octets their list may have.
const ASKED_HEADERS_MAX: usize = 32;
const ASKED_HEADERS_LENGTH_MAX: usize = 1_024;

/// The pages of other origins that may read the responses of a route.
#[derive(Clone, Debug)]
pub(super) enum CorsPolicy {
    /// All: the public documents.
    Everyone,
    /// Those of the configured origins.
    Listed(Vec<CorsOrigin>),
    /// None: introspection is not for browsers.
    Nobody,
}

impl CorsPolicy {
    /// Whether a page sent this request that may not use the route. It is refused before any work: a form needs no
    /// preflight, so a hostile page could make browsers guess passwords.
    pub(super) fn refuses(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Everyone => false,
            Self::Listed(_) | Self::Nobody => {
                headers.contains_key(ORIGIN) && self.allowed(headers).is_none()
            }
        }
    }

    /// The value of `Access-Control-Allow-Origin`, if the page may read the response.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::Everyone => Some(HeaderValue::from_static("*")),
            Self::Nobody => None,
            Self::Listed(origins) => {
                let mut lines = headers.get_all(ORIGIN).iter();
                let origin = lines.next().filter(|_| lines.next().is_none())?;
                let text = origin.to_str().ok()?;
                origins.iter().any(|own| own.allows(text)).then(|| origin.clone())
            }
        }
    }

    /// The CORS headers of the response to this request.
    pub(super) fn reader(&self, request: &HeaderMap) -> Reader {
        Reader {
            origin: self.allowed(request),
            varies: matches!(self, Self::Listed(_)),
            preflight: request.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
            allowed_headers: match self {
                Self::Everyone | Self::Listed(_) => allowed_headers(request),
                Self::Nobody => HeaderValue::from_static(ALLOWED_HEADERS),
            },
        }
    }
}

/// The headers that a page may set whose origin may use the route, including those it asks for: tracing adds its own,
/// such as `traceparent`, and the service ignores unknown headers. Invalid names, or too many, are not repeated.
fn allowed_headers(request: &HeaderMap) -> HeaderValue {
    let mut lines = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let only = lines.next().filter(|_| lines.next().is_none());
    let asked = only.and_then(|line| line.to_str().ok()).unwrap_or_default();
    let is_name = |name: &&str| HeaderName::try_from(*name).is_ok();
    let names = || asked.split(',').map(str::trim).filter(|name| !name.is_empty());
    let is_bounded =
        asked.len() <= ASKED_HEADERS_LENGTH_MAX && names().count() <= ASKED_HEADERS_MAX;
    if asked.is_empty() || !is_bounded || !names().all(|name| is_name(&name)) {
        return HeaderValue::from_static(ALLOWED_HEADERS);
    }
    let asked = names().collect::<Vec<_>>().join(", ");
    text_value(&format!("{ALLOWED_HEADERS}, {asked}"))
}

/// What a browser must be told in any response of a route, errors included.
#[derive(Debug)]
pub(super) struct Reader {
    origin: Option<HeaderValue>,
    varies: bool,
    preflight: bool,
    allowed_headers: HeaderValue,
}

impl Reader {
    /// Adds the headers. `allow` are the methods of the route.
    pub(super) fn decorate(self, allow: &[Method], response: &mut Response) {
        let headers = response.headers_mut();
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.origin else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("WWW-Authenticate, Retry-After, X-Request-Id");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if self.preflight {
            let methods: Vec<&str> = allow.iter().map(Method::as_str).collect();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, text_value(&methods.join(", ")));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.allowed_headers);
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
}
