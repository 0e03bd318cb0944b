//! Token introspection (RFC 7662).

use std::sync::Arc;

use serde::Serialize;

use super::client_authentication::ClientAuthentication;
use super::signing_keys::SigningKeys;
use super::{FormRequest, Refusal, Trail};
use crate::clock::{Clock, Timestamp};
use crate::oauth::access_token::{AccessTokenClaims, AudienceClaim};
use crate::oauth::client_credentials::ClientCredentials;
use crate::oauth::{Client, ClientId, Issuer, Parameter, Parameters, Reason, Scope, UserId};
use crate::store::Store;
use crate::store::sessions::FindLiveSession;

/// The answer (RFC 7662 §2.2): for a token that is not active, nothing but that.
#[derive(Debug, Serialize)]
pub struct IntrospectionResponse {
    active: bool,
    #[serde(flatten)]
    token: Option<ActiveToken>,
}

impl IntrospectionResponse {
    const INACTIVE: Self = Self { active: false, token: None };

    /// Whether the token is active for the caller.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active
    }
}

#[derive(Debug, Serialize)]
struct ActiveToken {
    iss: String,
    sub: UserId,
    aud: AudienceClaim,
    client_id: ClientId,
    iat: Timestamp,
    exp: Timestamp,
    jti: String,
    auth_time: Timestamp,
    scope: Scope,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<String>>,
}

/// Answers introspection requests.
#[derive(Debug)]
pub struct IntrospectionEndpoint {
    /// Who may ask.
    pub clients: ClientAuthentication,
    /// Who verifies.
    pub keys: Arc<SigningKeys>,
    /// The sessions.
    pub store: Store,
    /// `iss`.
    pub issuer: Issuer,
    /// What time it is.
    pub clock: Clock,
}

impl IntrospectionEndpoint {
    /// Answers one request. Nothing is changed by it.
    ///
    /// # Errors
    /// [`Refusal`] if the caller may not ask, the request is malformed, or the answer is not known
    /// for certain. A token that is not good is no error.
    pub async fn respond(
        &self,
        request: &FormRequest,
        trail: &mut Trail,
    ) -> Result<IntrospectionResponse, Refusal> {
        // 1. Read the form, as strictly as at the token endpoint.
        let form = Parameters::read(&request.content)?;
        // 2. Authenticate the caller; being a public client is no authorisation (§2.1).
        let credentials = ClientCredentials::read(&request.authorization, &form)?;
        let caller = self.clients.authenticate(credentials, trail).await?;
        // 3. See that it may introspect at all.
        if caller.settings.introspects.is_empty() {
            return Err(Refusal::Forbidden(Reason::IntrospectionNotAllowed));
        }
        // 4. Verify the token. The hint is not needed: a token tells its kind by its form (§2.1).
        let token = form.require(Parameter::Token)?;
        let now = self.clock.now();
        let Some(claims) = self.keys.ring().verify(token.expose(), &self.issuer, now) else {
            return Ok(IntrospectionResponse::INACTIVE);
        };
        // 5. See that it is for the caller: else it must look as if it did not exist (§4).
        if !is_for(&claims, &caller) {
            return Ok(IntrospectionResponse::INACTIVE);
        }
        // 6. Ask whether its session, user and client are good at this instant.
        let session = FindLiveSession {
            id: claims.sid.clone(),
            user_id: claims.sub.clone(),
            client_id: claims.client_id.clone(),
            now,
        };
        let Some(session) = self.store.perform(session).await? else {
            return Ok(IntrospectionResponse::INACTIVE);
        };
        trail.user = Some(claims.sub.clone());
        // 7. Say what the caller may know (§5).
        let username = caller.settings.introspects_username.then_some(session.username);
        Ok(IntrospectionResponse { active: true, token: Some(ActiveToken::new(claims, username)) })
    }
}

/// Whether one of the token's audiences is one that the caller introspects for.
fn is_for(claims: &AccessTokenClaims, caller: &Client) -> bool {
    claims.aud.audiences().iter().any(|audience| caller.settings.introspects.contains(audience))
}

impl ActiveToken {
    fn new(claims: AccessTokenClaims, username: Option<String>) -> Self {
        Self {
            iss: claims.iss,
            sub: claims.sub,
            aud: claims.aud,
            client_id: claims.client_id,
            iat: claims.iat,
            exp: claims.exp,
            jti: claims.jti,
            auth_time: claims.auth_time,
            scope: claims.scope,
            token_type: "Bearer",
            username,
            roles: claims.roles,
        }
    }
}
