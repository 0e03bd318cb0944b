//! The token endpoint (RFC 6749 §3.2).

pub mod client_authentication;
mod hashed_secrets;
pub mod issuance;
pub mod password;
pub mod refresh;
mod second_factor;

use std::sync::Arc;

use crate::agreed_clock::AgreedClock;
use crate::{AuditContext, FormRequest, Refusal};
use client_authentication::{ClientAuthentication, Prefetch};
use issuance::TokenResponse;
use jeton_oauth::client::GrantType;
use jeton_oauth::client_credentials::ClientCredentials;
use jeton_oauth::token_request::{PasswordGrant, read_grant_type};
use jeton_oauth::{Parameters, Reason, SessionId};
use password::PasswordGrantEndpoint;
use refresh::{RefreshGrant, RefreshGrantEndpoint};

/// Answers token requests.
#[derive(Debug)]
pub struct TokenEndpoint {
    /// Authenticates the clients.
    pub clients: ClientAuthentication,
    /// The password grant (RFC 6749 §4.3).
    pub password: PasswordGrantEndpoint,
    /// The refresh grant (RFC 6749 §6).
    pub refresh: RefreshGrantEndpoint,
    /// Tells the time while the machine's clock is right.
    pub clock: Arc<AgreedClock>,
}

impl TokenEndpoint {
    /// Answers one request. The order matters: a caller learns nothing about users before its client has authenticated.
    ///
    /// # Errors
    /// [`Refusal`] of the first step that fails.
    pub async fn respond(
        &self,
        request: &FormRequest,
        audit: &mut AuditContext,
    ) -> Result<TokenResponse, Refusal> {
        // 0. Refuse while the clock is off.
        self.clock.now()?;
        // 1. Read the form. No parameter may be repeated (§3.2).
        let form = Parameters::read(request.content.expose())?;
        // 2. Read the client's credentials. Only one mechanism may be used (§2.3).
        let credentials = ClientCredentials::read(&request.authorization, &form)?;
        // 3. Read the grant. Its errors are reported after the client has authenticated.
        let grant = self.read_grant(&form);
        // 4. Authenticate the client (§3.2.1). The session of a genuine refresh token is read with it.
        let mut prefetch = Prefetch::new(grant.as_ref().ok().and_then(Grant::session).cloned());
        let client = self.clients.identify(credentials, request, &mut prefetch, audit).await?;
        // 5. Check that this client may use the grant (§5.2).
        let grant = grant?;
        audit.grant = Some(grant.kind().as_str());
        client.require_grant(grant.kind())?;
        // 6. Decide on the grant.
        match grant {
            Grant::Password(grant) => {
                self.password.decide(&client, &grant?, &form, request, audit).await
            }
            Grant::RefreshToken(grant) => {
                self.refresh.decide(&client, grant?, &form, request, prefetch, audit).await
            }
        }
    }

    fn read_grant<'a>(&self, form: &'a Parameters) -> Result<Grant<'a>, Reason> {
        Ok(match read_grant_type(form)? {
            GrantType::Password => Grant::Password(PasswordGrant::read(form)),
            GrantType::RefreshToken => {
                Grant::RefreshToken(RefreshGrant::read(form, &self.refresh.issuance.keys))
            }
        })
    }
}

/// The grant of a request, with its parameters or what is wrong with them.
enum Grant<'a> {
    Password(Result<PasswordGrant<'a>, Reason>),
    RefreshToken(Result<RefreshGrant<'a>, Reason>),
}

impl Grant<'_> {
    fn kind(&self) -> GrantType {
        match self {
            Self::Password(_) => GrantType::Password,
            Self::RefreshToken(_) => GrantType::RefreshToken,
        }
    }

    /// The session of a genuine refresh token.
    fn session(&self) -> Option<&SessionId> {
        match self {
            Self::RefreshToken(Ok(grant)) => grant.session(),
            Self::RefreshToken(Err(_)) | Self::Password(_) => None,
        }
    }
}
