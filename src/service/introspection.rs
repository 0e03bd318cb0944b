//! Token introspection (RFC 7662).

use std::sync::Arc;

use serde::Serialize;

use super::agreed_clock::AgreedClock;
use super::keys::{GenuineToken, Keys};
use super::{AuditContext, FormRequest, Refusal};
use crate::throttle::alarm::UnknownTokens;
use crate::token::client_authentication::{ClientAuthentication, Prefetch};
use jeton_oauth::access_token::{AccessTokenClaims, AudienceClaim};
use jeton_oauth::client::{AccessTokenType, GrantType};
use jeton_oauth::client_credentials::ClientCredentials;
use jeton_oauth::refresh_token::RefreshTokenClaims;
use jeton_oauth::resource_owner::Username;
use jeton_oauth::second_factor;
use jeton_oauth::{
    Client, ClientId, Issuer, Parameter, Parameters, Reason, Scope, SessionId, Timestamp, UserId,
};
use jeton_store::Store;
use jeton_store::sessions::StoredSession;

/// The answer (RFC 7662 §2.2). For an inactive token it is `{"active":false}` only.
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

/// The description of an active token: its claims, and members that only the answer has.
#[derive(Debug, Serialize)]
struct ActiveToken {
    #[serde(flatten)]
    claims: Claims,
    /// How to use an access token (RFC 6749 §7.1); absent for a refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// The user's name, for callers that may see it (§5).
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<Username>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Claims {
    /// All claims of the access token.
    Access(Box<AccessTokenClaims>),
    /// The claims that a session determines without an access token.
    Refresh {
        iss: String,
        sub: UserId,
        aud: AudienceClaim,
        client_id: ClientId,
        iat: Timestamp,
        exp: Timestamp,
        auth_time: Timestamp,
        amr: &'static [&'static str],
        #[serde(skip_serializing_if = "Option::is_none")]
        acr: Option<&'static str>,
        scope: Scope,
        sid: SessionId,
    },
}

/// Answers introspection requests.
#[derive(Debug)]
pub struct IntrospectionEndpoint {
    /// Authenticates the callers.
    pub clients: ClientAuthentication,
    /// Verifies the tokens.
    pub keys: Arc<Keys>,
    /// Stores the sessions.
    pub store: Store,
    /// `iss`.
    pub issuer: Issuer,
    /// Counts the tokens that this service never made, by caller.
    pub unknown_tokens: UnknownTokens,
    /// Tells the time while the machine's clock is right.
    pub clock: Arc<AgreedClock>,
}

impl IntrospectionEndpoint {
    /// Answers one request. It changes nothing.
    ///
    /// # Errors
    /// [`Refusal`] if the caller may not ask, the request is malformed, or the database cannot be read. An inactive
    /// token is no error.
    pub async fn respond(
        &self,
        request: &FormRequest,
        audit: &mut AuditContext,
    ) -> Result<IntrospectionResponse, Refusal> {
        // 0. Refuse while the clock is off.
        let now = self.clock.now()?;
        // 1. Read the form as strictly as the token endpoint does.
        let form = Parameters::read(request.content.expose())?;
        // 2. Authenticate the caller: a public client may not introspect (§2.1). The session of a token that is known
        //    to be genuine is read with it.
        let credentials = ClientCredentials::read(&request.authorization, &form)?;
        let known = form.find(Parameter::Token);
        let known = known.and_then(|token| self.keys.recall(token, &self.issuer, now));
        let mut prefetch = Prefetch::new(known.as_ref().map(|token| token.session().clone()));
        let caller = self.clients.authenticate(credentials, request, &mut prefetch, audit).await?;
        // 3. Check that the caller may introspect at all.
        if caller.settings.introspects.is_empty() {
            return Err(Refusal::Forbidden(Reason::IntrospectionNotAllowed));
        }
        // 4. Verify the token. `token_type_hint` is not needed: the form of a token tells its kind (§2.1).
        let token = form.require(Parameter::Token)?;
        let token = match known {
            Some(known) => Some(known),
            None => self.keys.recognise(token, &self.issuer, now).await?,
        };
        let Some(token) = token else {
            audit.incident = self.unknown_tokens.count(&caller.id);
            return Ok(IntrospectionResponse::INACTIVE);
        };
        // 5. Check that the token is for the caller, and that session, user and client are good now. If not, the answer
        //    is that of a token that does not exist (§4).
        let token = match token {
            GenuineToken::Access(claims) => {
                self.access_token(claims, &caller, now, &mut prefetch, audit).await?
            }
            GenuineToken::Refresh(claims) => {
                self.refresh_token(claims, &caller, now, &mut prefetch, audit).await?
            }
        };
        audit.user = token.as_ref().map(|token| token.user().clone());
        Ok(IntrospectionResponse { active: token.is_some(), token })
    }

    async fn access_token(
        &self,
        claims: Box<AccessTokenClaims>,
        caller: &Client,
        now: Timestamp,
        prefetch: &mut Prefetch,
        audit: &mut AuditContext,
    ) -> Result<Option<ActiveToken>, Refusal> {
        if !is_for(&claims, caller) || !self.is_of_its_type(&claims).await? {
            return Ok(None);
        }
        let session = self.live_session(&claims.sid, now, prefetch, audit).await?;
        let session = session.filter(|session| {
            session.user_id == claims.sub && session.client_id == claims.client_id
        });
        Ok(session.map(|session| ActiveToken::access(claims, &session, caller)))
    }

    /// Whether the token's header has a `typ` that its client's tokens may have (RFC 9068 §4).
    async fn is_of_its_type(&self, claims: &AccessTokenClaims) -> Result<bool, Refusal> {
        if claims.typ == AccessTokenType::AccessToken {
            return Ok(true);
        }
        let client = self.store.find_client(claims.client_id.clone()).await?;
        Ok(client.is_some_and(|found| found.client.settings.access_token_typ == claims.typ))
    }

    /// Describes a refresh token, to the client that it belongs to only.
    async fn refresh_token(
        &self,
        claims: RefreshTokenClaims,
        caller: &Client,
        now: Timestamp,
        prefetch: &mut Prefetch,
        audit: &mut AuditContext,
    ) -> Result<Option<ActiveToken>, Refusal> {
        let session = self.live_session(&claims.session, now, prefetch, audit).await?;
        let session = session.filter(|session| {
            // The token endpoint would accept a generation ahead of the row, too.
            session.client_id == caller.id
                && caller.settings.grants.contains(&GrantType::RefreshToken)
                && claims.generation >= session.generation
        });
        let iss = || self.issuer.as_str().to_owned();
        Ok(session.map(|session| ActiveToken::refresh(iss(), session, caller)))
    }

    async fn live_session(
        &self,
        id: &SessionId,
        now: Timestamp,
        prefetch: &mut Prefetch,
        audit: &mut AuditContext,
    ) -> Result<Option<StoredSession>, Refusal> {
        let session = prefetch.session(id, &self.store).await?;
        audit.unknown_session = session.is_none();
        Ok(session.filter(|session| session.dates.are_live(now)))
    }
}

/// Whether the caller introspects for one of the token's audiences.
fn is_for(claims: &AccessTokenClaims, caller: &Client) -> bool {
    claims.aud.audiences().iter().any(|audience| caller.settings.introspects.contains(audience))
}

fn username_for(caller: &Client, session: &StoredSession) -> Option<Username> {
    caller.settings.introspects_username.then(|| session.owner.username.clone())
}

impl ActiveToken {
    fn access(claims: Box<AccessTokenClaims>, session: &StoredSession, caller: &Client) -> Self {
        Self {
            claims: Claims::Access(claims),
            token_type: Some("Bearer"),
            username: username_for(caller, session),
        }
    }

    fn refresh(iss: String, session: StoredSession, caller: &Client) -> Self {
        Self {
            username: username_for(caller, &session),
            token_type: None,
            claims: Claims::Refresh {
                iss,
                sub: session.user_id,
                aud: AudienceClaim::new(session.granted.audiences, caller.settings.audience_array),
                client_id: session.client_id,
                iat: session.dates.refreshed_at,
                exp: session.dates.expires_at,
                auth_time: session.auth_time,
                amr: second_factor::amr(session.second_factor_at.is_some()),
                acr: second_factor::acr(session.second_factor_at.is_some()),
                scope: session.granted.scope,
                sid: session.id,
            },
        }
    }

    fn user(&self) -> &UserId {
        match &self.claims {
            Claims::Access(claims) => &claims.sub,
            Claims::Refresh { sub, .. } => sub,
        }
    }
}
