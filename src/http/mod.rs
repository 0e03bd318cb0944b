//! Floor 4: the way in over HTTP. warp and hyper are known here and nowhere else.
//!
//! Start here for "which path does what": [`public_routes`] and [`management_routes`] are the tables.

mod cors;
mod forwarded;
mod management;
pub mod metrics;
mod reply;
mod route;
pub mod server;
pub mod tls;

use std::sync::Arc;

use http::Method;
use http::header::AUTHORIZATION;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::config::{CorsOrigin, TrustedProxy};
use crate::endpoint::discovery::Discovery;
use crate::endpoint::introspection::IntrospectionEndpoint;
use crate::endpoint::token::TokenEndpoint;
use crate::endpoint::{FormRequest, Refusal, Trail};
use crate::oauth::Issuer;
use crate::oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, TOKEN_PATH};
use crate::secret::Secret;
use cors::CorsPolicy;
use forwarded::TrustedProxies;
use metrics::{IntrospectionLabels, Metrics, TokenLabels};
use route::{Kind, Request, Route};

pub use management::Management;

/// What the public listener serves.
#[derive(Debug)]
pub struct PublicService {
    /// RFC 6749.
    pub token: TokenEndpoint,
    /// RFC 7662.
    pub introspection: IntrospectionEndpoint,
    /// RFC 7517, RFC 8414.
    pub discovery: Arc<Discovery>,
    /// `iss`, and where the routes are.
    pub issuer: Issuer,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who may call from a browser.
    pub cors_origins: Vec<CorsOrigin>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<TrustedProxy>,
}

/// All paths of the public listener.
pub fn public_routes(service: PublicService) -> BoxedFilter<(Response,)> {
    let origins: Arc<[CorsOrigin]> = service.cors_origins.clone().into();
    let trusted = Arc::new(TrustedProxies(service.trusted_proxies.clone()));
    let metrics = Arc::clone(&service.metrics);
    let issuer = service.issuer.clone();
    let service = Arc::new(service);

    let form = |path: &str, name, cors| {
        let path = issuer.endpoint_path(path);
        (Route { path, name, kind: Kind::Form, cors }, Arc::clone(&metrics), Arc::clone(&trusted))
    };
    let (at, counted, proxies) =
        form(TOKEN_PATH, "token", CorsPolicy::Listed(Arc::clone(&origins)));
    let own = Arc::clone(&service);
    let token = route::route(at, counted, proxies, move |request| {
        let service = Arc::clone(&own);
        async move { service.token(request).await }
    });
    let (at, counted, proxies) = form(INTROSPECTION_PATH, "introspection", CorsPolicy::Nobody);
    let own = Arc::clone(&service);
    let introspection = route::route(at, counted, proxies, move |request| {
        let service = Arc::clone(&own);
        async move { service.introspection(request).await }
    });

    let document =
        |path: String, name, which: fn(&Discovery) -> crate::crypto::key_ring::Document| {
            let at = Route { path, name, kind: Kind::Document, cors: CorsPolicy::Everyone };
            let discovery = Arc::clone(&service.discovery);
            route::route(at, Arc::clone(&metrics), Arc::clone(&trusted), move |request: Request| {
                let document = which(&discovery);
                let head = request.method == Method::HEAD;
                async move { reply::document(document, &request.headers, head) }
            })
        };
    let jwks = document(issuer.endpoint_path(JWKS_PATH), "jwks", Discovery::jwks);
    let oauth = issuer.well_known_path("oauth-authorization-server");
    // Many verifiers know only this name; where the issuer has a path they append it (OpenID
    // Connect Discovery §4) instead of inserting it (RFC 8414 §3.1), so both work.
    let openid = issuer.well_known_path("openid-configuration");
    let appended = issuer.endpoint_path("/.well-known/openid-configuration");
    [oauth, openid, appended]
        .into_iter()
        .map(|path| document(path, "metadata", Discovery::metadata))
        .fold(token.or(introspection).unify().or(jwks).unify().boxed(), |all, next| {
            all.or(next).unify().boxed()
        })
        .or(route::elsewhere(CorsPolicy::Listed(origins), Arc::clone(&metrics)))
        .unify()
        .boxed()
}

impl PublicService {
    async fn token(&self, request: Request) -> Response {
        let mut trail = Trail::default();
        let outcome = self.token.respond(&form_request(&request), &mut trail).await;
        let label = outcome.as_ref().err().map_or("issued", Refusal::label);
        let grant = trail.grant.unwrap_or("none");
        self.metrics.token_requests.get_or_create(&TokenLabels { grant, outcome: label }).inc();
        let event = if outcome.is_ok() { "token_issued" } else { "token_refused" };
        report(event, label, &trail, &request, outcome.as_ref().err());
        outcome.map_or_else(|refusal| reply::refusal(&refusal), |answer| reply::token(&answer))
    }

    async fn introspection(&self, request: Request) -> Response {
        let mut trail = Trail::default();
        let outcome = self.introspection.respond(&form_request(&request), &mut trail).await;
        let label = match &outcome {
            Ok(answer) if answer.is_active() => "active",
            Ok(_) => "inactive",
            Err(refusal) => refusal.label(),
        };
        self.metrics.introspections.get_or_create(&IntrospectionLabels { outcome: label }).inc();
        match &outcome {
            // The common case of a gateway: for who wants to see each.
            Ok(_) => tracing::debug!(request_id = %request.id, outcome = label, "introspected"),
            Err(refusal) => {
                report("introspection_refused", label, &trail, &request, Some(refusal));
            }
        }
        outcome.map_or_else(
            |refusal| reply::refusal(&refusal),
            |answer| reply::json(http::StatusCode::OK, &answer),
        )
    }
}

/// What an endpoint may know of a request.
fn form_request(request: &Request) -> FormRequest {
    let line = |value: &http::HeaderValue| {
        Secret::new(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    FormRequest {
        authorization: request.headers.get_all(AUTHORIZATION).iter().map(line).collect(),
        content: request.content.clone(),
        caller: request.caller.clone(),
    }
}

/// Logs what came of a request, once, with who took part. What is our fault is an error beside.
fn report(event: &str, reason: &str, trail: &Trail, request: &Request, refusal: Option<&Refusal>) {
    let text = |id: Option<&str>| id.unwrap_or("").to_owned();
    tracing::info!(
        target: "jeton::audit",
        event,
        reason,
        request_id = %request.id,
        client_id = text(trail.client.as_ref().map(crate::oauth::ClientId::as_str)),
        user_id = text(trail.user.as_ref().map(crate::oauth::UserId::as_str)),
        source = request.source.map(|address| address.to_string()).unwrap_or_default(),
    );
    match refusal {
        Some(Refusal::Unavailable { detail, .. }) => {
            tracing::warn!(request_id = %request.id, "cannot decide: {detail}");
        }
        Some(Refusal::Fault(detail)) => {
            tracing::error!(request_id = %request.id, "fault: {detail}");
        }
        Some(Refusal::Protocol(_) | Refusal::Forbidden(_)) | None => {}
    }
}

/// All paths of the management listener.
#[must_use]
pub fn management_routes(management: Management) -> BoxedFilter<(Response,)> {
    management::routes(Arc::new(management))
        .recover(|_: Rejection| async { Ok::<_, Rejection>(reply::not_found()) })
        .unify()
        .boxed()
}
