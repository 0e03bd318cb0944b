//! Cross-origin requests (the Fetch standard's CORS protocol).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method};
use warp::reply::Response;

use super::reply::text_value;
use crate::config::CorsOrigin;

/// Who may read the responses of a route from a page of another origin.
#[derive(Clone, Debug)]
pub(super) enum CorsPolicy {
    /// Everyone: the public documents.
    Everyone,
    /// The configured origins.
    Listed(Vec<CorsOrigin>),
    /// Nobody: introspection is not for browsers.
    Nobody,
}

impl CorsPolicy {
    /// Whether a page sent this request that may not use the route. A form needs no preflight, so
    /// a hostile page could make browsers guess passwords; it is refused before any work.
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

    /// Who will read the response, as far as a browser is told.
    pub(super) fn reader(&self, request: &HeaderMap) -> Reader {
        Reader {
            origin: self.allowed(request),
            varies: matches!(self, Self::Listed(_)),
            preflight: request.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
        }
    }
}

/// What a browser must be told in any response of a route, errors included.
#[derive(Debug)]
pub(super) struct Reader {
    origin: Option<HeaderValue>,
    varies: bool,
    preflight: bool,
}

impl Reader {
    /// Adds it, given the methods of the route.
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
            let allowed = HeaderValue::from_static("Authorization, Content-Type, X-Requested-With");
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
}
