//! HTTP: connections, paths, headers, status codes, metrics.
//!
//! This package must never know whether a request is right: it hands the form to an endpoint of `jeton-service` and
//! turns the answer into a response. Only here is warp known. Start with [`public_routes`] and [`management_routes`],
//! the tables of paths.

mod connection;
mod cors;
mod document;
mod exchange;
pub mod forwarded;
mod lingering;
mod management;
pub mod metrics;
mod reply;
mod request_memory;
mod route;
pub mod server;
mod slots;
pub mod tls;
mod trace_context;
mod trusted_proxy;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use cors::CorsPolicy;
use document::Documents;
use forwarded::TrustedProxies;
use jeton_oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, REVOCATION_PATH, TOKEN_PATH};
use jeton_oauth::{CorsOrigin, Issuer, Seconds, Secret};
use jeton_service::incident::{Generations, Incident, Withheld};
use jeton_service::introspection::IntrospectionEndpoint;
use jeton_service::metadata::{Discovery, Document};
use jeton_service::revocation::{Revocation, RevocationEndpoint};
use jeton_service::token::TokenEndpoint;
use jeton_service::{AuditContext, FormRequest, Refusal};
use metrics::{EndpointLabels, Metrics, OutcomeLabels, ReuseLabels, TokenLabels, UnnamedLabels};
use route::{FormHandler, Handler, Request, Route, Table};
use trace_context::TraceContext;

pub use management::Management;
pub use trusted_proxy::TrustedProxy;

/// What the public listener serves.
#[derive(Debug)]
pub struct PublicService {
    /// The token endpoint (RFC 6749 §3.2).
    pub token: TokenEndpoint,
    /// Token revocation (RFC 7009).
    pub revocation: RevocationEndpoint,
    /// Token introspection (RFC 7662).
    pub introspection: IntrospectionEndpoint,
    /// The JWKS (RFC 7517) and the metadata (RFC 8414).
    pub discovery: Arc<Discovery>,
    /// The issuer, whose path precedes those of the endpoints.
    pub issuer: Issuer,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The origins of web pages that may call from a browser.
    pub cors_origins: Vec<CorsOrigin>,
    /// The proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<TrustedProxy>,
}

/// All paths of the public listener.
#[must_use]
pub fn public_routes(service: PublicService) -> BoxedFilter<(Response,)> {
    let service = Arc::new(service);
    let issuer = &service.issuer;
    let origins = CorsPolicy::Listed(service.cors_origins.clone());
    let document = |name, read: fn(&Discovery) -> Arc<Document>| {
        let discovery = Arc::clone(&service.discovery);
        let handler = Handler::Document(Documents::new(move || read(&discovery)));
        Route { name, cors: CorsPolicy::Everyone, handler }
    };
    let metadata = || document("metadata", Discovery::metadata);
    let elsewhere = origins.clone();
    let token = Handler::Command(form(&service, PublicService::token));
    let revocation = Handler::Command(form(&service, PublicService::revocation));
    let introspection = Handler::Query(form(&service, PublicService::introspection));
    let routes = HashMap::from([
        (
            issuer.endpoint_path(TOKEN_PATH),
            Route { name: "token", cors: origins.clone(), handler: token },
        ),
        (
            issuer.endpoint_path(REVOCATION_PATH),
            Route { name: "revocation", cors: origins, handler: revocation },
        ),
        (
            issuer.endpoint_path(INTROSPECTION_PATH),
            Route { name: "introspection", cors: CorsPolicy::Nobody, handler: introspection },
        ),
        (issuer.endpoint_path(JWKS_PATH), document("jwks", Discovery::jwks)),
        (issuer.well_known_path("oauth-authorization-server"), metadata()),
        // Many verifiers know only this name. If the issuer has a path, they append the name (OpenID Connect Discovery
        // §4) instead of inserting it (RFC 8414 §3.1), so both are served.
        (issuer.well_known_path("openid-configuration"), metadata()),
        (issuer.endpoint_path("/.well-known/openid-configuration"), metadata()),
    ]);
    let metrics = Arc::clone(&service.metrics);
    let trusted_proxies = TrustedProxies::new(service.trusted_proxies.clone());
    Table { routes, elsewhere, metrics, trusted_proxies }.into_filter()
}

fn form<F>(
    service: &Arc<PublicService>,
    answer: fn(Arc<PublicService>, Request) -> F,
) -> FormHandler
where
    F: Future<Output = Response> + Send + 'static,
{
    let service = Arc::clone(service);
    Box::new(move |request| Box::pin(answer(Arc::clone(&service), request)))
}

impl PublicService {
    async fn token(self: Arc<Self>, request: Request) -> Response {
        let mut audit = AuditContext::default();
        let outcome = self.token.respond(&form_request(&request), &mut audit).await;
        let issued = if audit.retried_after.is_some() { "retried" } else { "issued" };
        let label = outcome.as_ref().err().map_or(issued, Refusal::label);
        let grant = audit.grant.unwrap_or("none");
        self.metrics.token_requests.get_or_create(&TokenLabels { grant, outcome: label }).inc();
        self.count("token", &audit);
        let event = if outcome.is_ok() { "token_issued" } else { "token_refused" };
        report(event, label, &audit, &request, outcome.as_ref().err());
        outcome.map_or_else(|refusal| reply::refusal(&refusal), |answer| reply::token(&answer))
    }

    async fn revocation(self: Arc<Self>, request: Request) -> Response {
        let mut audit = AuditContext::default();
        let outcome = self.revocation.respond(&form_request(&request), &mut audit).await;
        let label = outcome.as_ref().map_or_else(Refusal::label, |done| done.label());
        self.metrics.revocations.get_or_create(&OutcomeLabels { outcome: label }).inc();
        if audit.incident == Some(Incident::ClientLocked) {
            self.metrics.accounts_locked.inc();
        }
        let event = match outcome {
            Ok(Revocation::Revoked) => "token_revoked",
            Ok(Revocation::Nothing) => "nothing_revoked",
            Err(_) => "revocation_refused",
        };
        report(event, label, &audit, &request, outcome.as_ref().err());
        // RFC 7009 §2.2: the status says everything, but some clients insist on JSON.
        let nothing = || reply::json(http::StatusCode::OK, &serde_json::json!({}));
        outcome.map_or_else(|refusal| reply::refusal(&refusal), |_| nothing())
    }

    async fn introspection(self: Arc<Self>, request: Request) -> Response {
        let mut audit = AuditContext::default();
        let outcome = self.introspection.respond(&form_request(&request), &mut audit).await;
        let label = match &outcome {
            Ok(answer) if answer.is_active() => "active",
            Ok(_) => "inactive",
            Err(refusal) => refusal.label(),
        };
        self.metrics.introspections.get_or_create(&OutcomeLabels { outcome: label }).inc();
        self.count("introspection", &audit);
        match &outcome {
            // A gateway introspects for each of its requests, so each answer is logged only on demand.
            Ok(_) if audit.incident.is_none() && audit.replaced_secret.is_none() => {
                let (trace_id, parent_id) = TraceContext::ids(&request.headers);
                tracing::debug!(
                    request_id = %request.id, trace_id, parent_id, outcome = label, "introspected"
                );
            }
            Ok(_) => report("introspected", label, &audit, &request, None),
            Err(refusal) => {
                report("introspection_refused", label, &audit, &request, Some(refusal));
            }
        }
        outcome.map_or_else(
            |refusal| reply::refusal(&refusal),
            |answer| reply::json(http::StatusCode::OK, &answer),
        )
    }
}

impl PublicService {
    /// Counts what happened to a session, besides the outcome of the request.
    fn count(&self, endpoint: &'static str, audit: &AuditContext) {
        if audit.unknown_session {
            self.metrics.unknown_sessions.get_or_create(&EndpointLabels { endpoint }).inc();
        }
        self.metrics.surplus_sessions_ended.inc_by(audit.ended.len() as u64);
        if audit.unnamed_end_user {
            let labels = UnnamedLabels { why: "no_end_user" };
            self.metrics.unnamed_callers.get_or_create(&labels).inc();
        }
        match audit.incident {
            Some(Incident::SessionCaughtUp(_)) => {
                self.metrics.sessions_caught_up.inc();
            }
            Some(Incident::RefreshTokenReused { generations, withheld }) => {
                let behind = generations.behind_label();
                let verdict = if withheld.is_some() { "withheld" } else { "ended" };
                let labels = ReuseLabels { behind, verdict };
                self.metrics.refresh_tokens_reused.get_or_create(&labels).inc();
            }
            Some(Incident::AccountLocked | Incident::ClientLocked | Incident::CodesLocked) => {
                self.metrics.accounts_locked.inc();
            }
            Some(Incident::UnknownTokens) => {
                self.metrics.unknown_token_floods.inc();
            }
            None => {}
        }
    }
}

/// The request as endpoints see it.
fn form_request(request: &Request) -> FormRequest {
    let line = |value: &http::HeaderValue| {
        Secret::new(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    FormRequest {
        authorization: request.headers.get_all(AUTHORIZATION).iter().map(line).collect(),
        content: request.content.clone(),
        caller: request.caller.clone(),
        source: request.source,
    }
}

/// Logs the outcome of a request, and an error or a warning if the service is at fault.
fn report(
    event: &str,
    reason: &str,
    audit: &AuditContext,
    request: &Request,
    refusal: Option<&Refusal>,
) {
    let text = |id: Option<&str>| id.unwrap_or("").to_owned();
    let client_id = text(audit.client.as_ref().map(jeton_oauth::ClientId::as_str));
    let user_id = text(audit.user.as_ref().map(jeton_oauth::UserId::as_str));
    let session_id = text(audit.session.as_ref().map(jeton_oauth::SessionId::as_str));
    let source = request.source.address.map(|address| address.to_string()).unwrap_or_default();
    let request_id = &*request.id;
    let (trace_id, parent_id) = TraceContext::ids(&request.headers);
    if let Some(incident) = audit.incident {
        let (event, meaning) = (incident.event(), incident.meaning());
        let generations = incident.generations();
        let presented = generations.map(|generations| generations.presented);
        let stored = generations.map(|generations| generations.stored);
        let behind = generations.map(Generations::behind);
        let why = incident.withheld().map(Withheld::label);
        tracing::warn!(
            target: "jeton::audit",
            event, request_id, trace_id, parent_id, client_id, user_id, session_id, source, presented, stored,
            behind, why, "{meaning}"
        );
    }
    if let Some(number) = audit.replaced_secret {
        tracing::info!(
            target: "jeton::audit",
            event = "client_secret_replaced", request_id, trace_id, parent_id, client_id, user_id, session_id, source,
            secret_number = number,
            "the first use of a secret that came from another service as a hash: its digest is stored from now on"
        );
    }
    if let Some(oldest) = audit.ended.first() {
        let (ended, count) = (oldest.as_str(), audit.ended.len());
        tracing::warn!(
            target: "jeton::audit",
            event = "surplus_session_ended", request_id, trace_id, parent_id, client_id, user_id,
            session_id = ended, count, source,
            "the user had more sessions through this client than are allowed (--sessions-per-user-and-client): the \
             oldest was ended"
        );
    }
    let grant = audit.grant.unwrap_or("");
    let age_seconds = audit.retried_after.map(Seconds::get);
    let second_factor = audit.second_factor.as_deref();
    tracing::info!(
        target: "jeton::audit",
        event, reason, grant, age_seconds, second_factor, request_id, trace_id, parent_id, client_id, user_id, session_id, source
    );
    match refusal {
        Some(Refusal::Unavailable { detail, .. }) => {
            tracing::warn!(request_id, trace_id, parent_id, "cannot decide: {detail}");
        }
        Some(Refusal::Fault(detail)) => {
            tracing::error!(request_id, trace_id, parent_id, "fault: {detail}");
        }
        Some(Refusal::Protocol(_) | Refusal::Forbidden(_) | Refusal::Throttled { .. }) | None => {}
    }
}

/// All paths of the management listener.
#[must_use]
pub fn management_routes(management: Management) -> BoxedFilter<(Response,)> {
    management::routes(Arc::new(management))
}
