//! The token endpoint (RFC 6749 §3.2).

pub mod client_authentication;
pub mod issuance;
pub mod password;
pub mod refresh;

use std::sync::Arc;

use crate::agreed_clock::AgreedClock;
use crate::{FormRequest, Refusal, Trail};
use client_authentication::{Beside, ClientAuthentication};
use issuance::TokenResponse;
use jeton_oauth::client::GrantType;
use jeton_oauth::client_credentials::ClientCredentials;
use jeton_oauth::token_request::{PasswordGrant, RefreshGrant, read_grant_type};
use jeton_oauth::{Parameter, Parameters, SessionId};
use password::PasswordGrantEndpoint;
use refresh::RefreshGrantEndpoint;

/// Answers token requests.
#[derive(Debug)]
pub struct TokenEndpoint {
    /// Who may ask.
    pub clients: ClientAuthentication,
    /// RFC 6749 §4.3.
    pub password: PasswordGrantEndpoint,
    /// RFC 6749 §6.
    pub refresh: RefreshGrantEndpoint,
    /// What time it is, if that is known.
    pub clock: Arc<AgreedClock>,
}

impl TokenEndpoint {
    /// Answers one request. The order of the steps is part of the protocol: a caller learns nothing
    /// about users before its client has proved who it is.
    ///
    /// # Errors
    /// [`Refusal`], of the first step that fails.
    pub async fn respond(
        &self,
        request: &FormRequest,
        trail: &mut Trail,
    ) -> Result<TokenResponse, Refusal> {
        // 0. By a clock that is off nothing is decided.
        self.clock.now()?;
        // 1. Read the form. Each parameter at most once (§3.2).
        let form = Parameters::read(request.content.expose())?;
        // 2. Find out who claims to be calling, by exactly one mechanism (§2.3).
        let credentials = ClientCredentials::read(&request.authorization, &form)?;
        // 3. Authenticate the client (§3.2.1). The session of a genuine refresh token is read with it.
        let mut beside = Beside::new(self.session_to_refresh(&form));
        let client = self.clients.identify(credentials, request.source, &mut beside, trail).await?;
        // 4. Read the grant type, and see that this client may use it (§5.2).
        let grant = read_grant_type(&form)?;
        trail.grant = Some(grant.as_str());
        client.require_grant(grant)?;
        // 5. Decide on the grant.
        match grant {
            GrantType::Password => {
                let grant = PasswordGrant::read(&form)?;
                self.password.decide(&client, &grant, &form, request, trail).await
            }
            GrantType::RefreshToken => {
                let grant = RefreshGrant::read(&form)?;
                self.refresh.decide(&client, &grant, &form, request, beside, trail).await
            }
        }
    }

    /// The session that the form asks to refresh, if this service made its token.
    fn session_to_refresh(&self, form: &Parameters) -> Option<SessionId> {
        read_grant_type(form).ok().filter(|grant| *grant == GrantType::RefreshToken)?;
        let token = form.find(Parameter::RefreshToken)?;
        Some(self.refresh.issuance.keys.recall_refresh_token(token)?.session)
    }
}
