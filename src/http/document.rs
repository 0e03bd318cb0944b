//! Documents served from memory. What is the same for every caller is computed once for each new document.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use warp::reply::Response;

use super::cors::CorsPolicy;
use super::reply;
use jeton_crypto::digest;
use jeton_service::metadata::Document;

/// The source of a route's document, and its last response.
pub(super) struct Documents {
    read: Box<dyn Fn() -> Arc<Document> + Send + Sync>,
    written: ArcSwapOption<Written>,
}

/// A document with the head of its responses.
struct Written {
    document: Arc<Document>,
    /// A strong entity tag (RFC 9110 §8.8.3).
    etag: String,
    headers: HeaderMap,
}

impl Documents {
    pub(super) fn new(read: impl Fn() -> Arc<Document> + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read), written: ArcSwapOption::empty() }
    }

    /// The current document, or 304 if the caller has it already (RFC 9110 §13.1.2).
    pub(super) fn answer(&self, request: &HeaderMap, head: bool) -> Response {
        let written = self.written();
        let Written { document, etag, headers } = &*written;
        let has_it = |field: &HeaderValue| {
            let tags = field.to_str().unwrap_or_default().split(',').map(str::trim);
            tags.map(|tag| tag.trim_start_matches("W/")).any(|tag| tag == "*" || tag == etag)
        };
        let is_known = request.get_all(IF_NONE_MATCH).iter().any(has_it);
        let content = if is_known || head { Bytes::new() } else { document.content.clone() };
        let mut response = Response::new(content.into());
        *response.headers_mut() = headers.clone();
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(CONTENT_TYPE);
        } else if head {
            let length = HeaderValue::from(document.content.len());
            response.headers_mut().insert(CONTENT_LENGTH, length);
        }
        response
    }

    fn written(&self) -> Arc<Written> {
        let document = (self.read)();
        if let Some(written) = &*self.written.load()
            && Arc::ptr_eq(&written.document, &document)
        {
            return Arc::clone(written);
        }
        let digest = digest::sha256(&document.content);
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..12]));
        let headers = head_of(&document, &etag);
        let written = Arc::new(Written { document, etag, headers });
        self.written.store(Some(Arc::clone(&written)));
        written
    }
}

/// The head of the responses with this document. Headers that are set later, for each response or by CORS, are already
/// inserted, so that the map need not grow.
fn head_of(document: &Document, etag: &str) -> HeaderMap {
    let mut response = reply::with_defences(StatusCode::OK, Bytes::new());
    CorsPolicy::Everyone.reader(&HeaderMap::new()).decorate(&[], &mut response);
    let mut headers = std::mem::take(response.headers_mut());
    let lifetime = format!("public, max-age={}", document.max_age.get());
    headers.insert(CACHE_CONTROL, reply::text_value(&lifetime));
    headers.insert(ETAG, reply::text_value(etag));
    headers.insert(CONTENT_TYPE, reply::JSON);
    headers.insert(reply::REQUEST_ID, HeaderValue::from_static(""));
    headers
}
