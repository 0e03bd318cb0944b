//! The authorization server metadata document (RFC 8414).

use serde::Serialize;

use super::client::ClientAuthenticationMethod::{ClientSecretBasic, ClientSecretPost};
use super::issuer::Issuer;
use super::scope::Scope;
use super::token_request::SUPPORTED_GRANTS;

/// The path of the token endpoint.
pub const TOKEN_PATH: &str = "/token";
/// The path of the introspection endpoint.
pub const INTROSPECTION_PATH: &str = "/introspect";
/// The path of the revocation endpoint.
pub const REVOCATION_PATH: &str = "/revoke";
/// The path of the key set.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// The document. Empty members are left out (§3.2), and `response_types_supported`, because there is no authorization
/// endpoint. `subject_types_supported` is in for parsers of `OpenID` Connect Discovery 1.0 §3, which insist on it.
#[derive(Debug, Serialize)]
pub struct Metadata {
    issuer: String,
    token_endpoint: String,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    jwks_uri: String,
    grant_types_supported: Vec<&'static str>,
    /// Every client sees the same `sub`. The registry of RFC 8414 §7.1 has the member too.
    subject_types_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<String>,
}

impl Metadata {
    /// The document of this issuer. `scopes` is what clients may ask for.
    #[must_use]
    pub fn new(issuer: &Issuer, scopes: &Scope) -> Self {
        let with_secret = vec![ClientSecretBasic.as_str(), ClientSecretPost.as_str()];
        let mut with_or_without = with_secret.clone();
        with_or_without.push("none");
        Self {
            issuer: issuer.as_str().to_owned(),
            token_endpoint: issuer.endpoint(TOKEN_PATH),
            token_endpoint_auth_methods_supported: with_or_without.clone(),
            revocation_endpoint: issuer.endpoint(REVOCATION_PATH),
            revocation_endpoint_auth_methods_supported: with_or_without,
            introspection_endpoint: issuer.endpoint(INTROSPECTION_PATH),
            introspection_endpoint_auth_methods_supported: with_secret,
            jwks_uri: issuer.endpoint(JWKS_PATH),
            grant_types_supported: SUPPORTED_GRANTS.iter().map(|grant| grant.as_str()).collect(),
            subject_types_supported: ["public"],
            scopes_supported: scopes.tokens().map(str::to_owned).collect(),
        }
    }
}
