//! Token revocation (RFC 7009). Revoking any token of a session ends the session with all its tokens (§2.1).

use std::sync::Arc;

use super::agreed_clock::AgreedClock;
use super::keys::{GenuineToken, Keys};
use super::throttle::Throttle;
use super::{AuditContext, FormRequest, Refusal};
use crate::throttle::alarm::UnknownTokens;
use crate::token::client_authentication::{ClientAuthentication, Prefetch};
use jeton_oauth::access_token::AccessTokenClaims;
use jeton_oauth::client::AccessTokenType;
use jeton_oauth::client_credentials::ClientCredentials;
use jeton_oauth::throttle::Counted;
use jeton_oauth::{Client, Issuer, Parameter, Parameters};
use jeton_store::Store;
use jeton_store::sessions::EndSession;

/// The outcome. The caller gets the same answer for both (§2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// A session was ended.
    Revoked,
    /// There was nothing to revoke: the token was unknown, another client's, expired or revoked.
    Nothing,
}

impl Revocation {
    /// The stable word for logs and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Nothing => "nothing",
        }
    }
}

/// Answers revocation requests.
#[derive(Debug)]
pub struct RevocationEndpoint {
    /// Authenticates the clients.
    pub clients: ClientAuthentication,
    /// Verifies the tokens.
    pub keys: Arc<Keys>,
    /// Stores the sessions.
    pub store: Store,
    /// `iss`.
    pub issuer: Issuer,
    /// Throttles addresses that send many tokens which this service never made.
    pub throttle: Throttle,
    /// Counts such tokens of confidential clients, by client.
    pub unknown_tokens: UnknownTokens,
    /// Tells the time while the machine's clock is right.
    pub clock: Arc<AgreedClock>,
}

impl RevocationEndpoint {
    /// Answers one request.
    ///
    /// # Errors
    /// [`Refusal`] if the client is not authenticated, the request is malformed, or the revocation cannot be stored.
    pub async fn respond(
        &self,
        request: &FormRequest,
        audit: &mut AuditContext,
    ) -> Result<Revocation, Refusal> {
        // 0. Refuse while the clock is off.
        let now = self.clock.now()?;
        // 1. Read the form as strictly as the token endpoint does.
        let form = Parameters::read(request.content.expose())?;
        // 2. Identify the caller: a public client only names itself (§2.1).
        let credentials = ClientCredentials::read(&request.authorization, &form)?;
        let prefetch = &mut Prefetch::default();
        let client = self.clients.identify(credentials, request, prefetch, audit).await?;
        // 3. Check that this service made the token. `token_type_hint` is not needed: the form of a token tells its
        //    kind. A refresh token of any generation ends its session.
        let token = form.require(Parameter::Token)?;
        //    Only tokens that are not genuine are counted, so a genuine one is never throttled.
        let id = match self.keys.recognise(token, &self.issuer, now).await? {
            Some(GenuineToken::Refresh(claims)) => claims.session,
            Some(GenuineToken::Access(claims)) if is_of(&claims, &client) => claims.sid,
            Some(GenuineToken::Access(_)) => return Ok(Revocation::Nothing),
            None if client.settings.public => {
                self.throttle.count(Counted::Revocations, request.source).await?;
                return Ok(Revocation::Nothing);
            }
            None => {
                audit.incident = self.unknown_tokens.count(&client.id);
                return Ok(Revocation::Nothing);
            }
        };
        audit.session = Some(id.clone());
        // 4. End the session, if it belongs to the client.
        let end = EndSession { id, client_id: Some(client.id) };
        audit.user = self.store.perform(end).await?;
        Ok(if audit.user.is_some() { Revocation::Revoked } else { Revocation::Nothing })
    }
}

/// Whether the token is the client's own, and its header has a `typ` that this client's tokens may have.
fn is_of(claims: &AccessTokenClaims, client: &Client) -> bool {
    let types = [AccessTokenType::AccessToken, client.settings.access_token_typ];
    claims.client_id == client.id && types.contains(&claims.typ)
}
