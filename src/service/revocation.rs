//! Token revocation (RFC 7009). What is revoked is the session: its refresh token and all its access
//! tokens, whichever of them is presented (§2.1).

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

/// What came of a revocation. The caller is told the same (§2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// A session was ended.
    Revoked,
    /// There was nothing to revoke: an unknown, foreign, expired or revoked token.
    Nothing,
}

impl Revocation {
    /// A stable word for logs and metrics.
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
    /// Who may ask.
    pub clients: ClientAuthentication,
    /// Who verifies.
    pub keys: Arc<Keys>,
    /// The sessions.
    pub store: Store,
    /// `iss`.
    pub issuer: Issuer,
    /// Holds back addresses from which many tokens come that this service never made.
    pub throttle: Throttle,
    /// Which confidential clients present many of those.
    pub unknown_tokens: UnknownTokens,
    /// What time it is, if that is known.
    pub clock: Arc<AgreedClock>,
}

impl RevocationEndpoint {
    /// Answers one request.
    ///
    /// # Errors
    /// [`Refusal`] if the client is not who it says, the request is malformed, or the revocation could
    /// not be stored.
    pub async fn respond(
        &self,
        request: &FormRequest,
        audit: &mut AuditContext,
    ) -> Result<Revocation, Refusal> {
        // 0. By a clock that is off nothing is decided.
        let now = self.clock.now()?;
        // 1. Read the form, as strictly as at the token endpoint.
        let form = Parameters::read(request.content.expose())?;
        // 2. Find out who calls: a public client need only say so (§2.1).
        let credentials = ClientCredentials::read(&request.authorization, &form)?;
        let prefetch = &mut Prefetch::default();
        let client = self.clients.identify(credentials, request.source, prefetch, audit).await?;
        // 3. See that this service made the token. The hint is not needed: a token tells its kind by
        //    its form, and a refresh token of any generation ends its session.
        let token = form.require(Parameter::Token)?;
        //    One that is genuine is always looked at, however many others are not.
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
        // 4. End the session, if it is the client's own.
        let end = EndSession { id, client_id: Some(client.id) };
        audit.user = self.store.perform(end).await?;
        Ok(if audit.user.is_some() { Revocation::Revoked } else { Revocation::Nothing })
    }
}

/// Whether a token is the client's own, and its header calls it what it may call those of this client.
fn is_of(claims: &AccessTokenClaims, client: &Client) -> bool {
    let types = [AccessTokenType::AccessToken, client.settings.access_token_typ];
    claims.client_id == client.id && types.contains(&claims.typ)
}
