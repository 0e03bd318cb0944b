//! Turns answers and refusals into responses. Every response of the public listener is made here, so each is JSON and
//! has the same security headers.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA,
    REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use warp::reply::Response;

use jeton_oauth::{ErrorCode, Reason, Seconds, Secret};
use jeton_service::Refusal;
use jeton_service::token::issuance::TokenResponse;

/// Security headers of every response: browsers must not sniff, run or frame it, nor send a referrer.
const DEFENCES: [(HeaderName, HeaderValue); 4] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox",
        ),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    ),
];

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The usual number of headers of an answer, for which memory is allocated once.
const FIELDS: usize = 16;

/// The body of an error (RFC 6749 §5.2).
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// The body of a token response (RFC 6749 §5.1).
#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: &'a str,
}

/// A response with this JSON, which must not be stored.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("answers are JSON");
    let mut response = with_defences(status, body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = with_defences(status, Bytes::new());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn with_defences(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let mut headers = HeaderMap::with_capacity(FIELDS);
    headers.extend(DEFENCES);
    *response.headers_mut() = headers;
    response
}

pub(super) fn token(answer: &TokenResponse) -> Response {
    let body = TokenBody {
        access_token: answer.access_token.expose(),
        token_type: "Bearer",
        expires_in: answer.expires_in,
        refresh_token: answer.refresh_token.as_ref().map(Secret::expose),
        scope: &answer.scope,
    };
    json(StatusCode::OK, &body)
}

pub(super) fn refusal(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Protocol(reason) => oauth_error(status_of(reason.code()), *reason),
        Refusal::Forbidden(reason) => oauth_error(StatusCode::FORBIDDEN, *reason),
        Refusal::Throttled { retry_after, .. } => throttled(*retry_after),
        Refusal::Unavailable { retry_after, .. } => unavailable(*retry_after),
        Refusal::Fault(_) => fault(),
    }
}

/// The status of each error code (RFC 6749 §5.2).
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidGrant
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope
        | ErrorCode::InvalidTarget
        | ErrorCode::MfaRequired => StatusCode::BAD_REQUEST,
    }
}

fn oauth_error(status: StatusCode, reason: Reason) -> Response {
    let mut response = error(status, reason.code().as_str(), &reason.description());
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 §15.5.2: every 401 says how to authenticate. The charset is from RFC 7617 §2.1.
        let challenge = HeaderValue::from_static("Basic realm=\"jeton\", charset=\"UTF-8\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// An error in the form of OAuth's.
pub(super) fn error(status: StatusCode, code: &str, description: &str) -> Response {
    json(status, &ErrorBody { error: code, error_description: description })
}

pub(super) fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "invalid_request", "There is nothing at this path.")
}

/// 405, with the methods that work (RFC 9110 §15.5.6).
pub(super) fn method_not_allowed(allow: &'static str) -> Response {
    let description = "This method does not work here; the Allow header has those that do.";
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", description);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// 503: nothing was decided (RFC 9110 §15.6.4). The code does not blame the client.
pub(super) fn unavailable(retry_after: Seconds) -> Response {
    let description = "The service cannot decide this now; try again later.";
    later(StatusCode::SERVICE_UNAVAILABLE, description, retry_after)
}

/// 429: too many failures (RFC 6585 §4). OAuth has no code for this.
fn throttled(retry_after: Seconds) -> Response {
    let description = "Too many attempts have failed; try again later.";
    later(StatusCode::TOO_MANY_REQUESTS, description, retry_after)
}

fn later(status: StatusCode, description: &str, retry_after: Seconds) -> Response {
    let mut response = error(status, "temporarily_unavailable", description);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after.get()));
    response
}

/// 500. The cause is in the log, with the request's id.
pub(super) fn fault() -> Response {
    let description = "The service met a condition that it did not expect.";
    error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", description)
}

/// A header value from text that is known to be printable ASCII.
pub(super) fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
