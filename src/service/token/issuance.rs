//! The last step of both grants: signs the access token and derives the refresh token.

use std::sync::Arc;

use crate::Refusal;
use crate::keys::Keys;
use jeton_crypto::random;
use jeton_oauth::access_token::{AccessTokenClaims, AudienceClaim};
use jeton_oauth::authorization::Authorized;
use jeton_oauth::client::{GrantType, OptionalClaim};
use jeton_oauth::refresh_token::RefreshTokenClaims;
use jeton_oauth::resource_owner::Username;
use jeton_oauth::second_factor;
use jeton_oauth::session::SessionDates;
use jeton_oauth::{Client, Issuer, Seconds, Secret, SessionId, Timestamp, UserId};

/// A successful answer (RFC 6749 §5.1).
#[derive(Debug)]
pub struct TokenResponse {
    /// The signed access token.
    pub access_token: Secret,
    /// Lifetime of the access token in seconds.
    pub expires_in: i64,
    /// The refresh token, if the client may use the refresh grant.
    pub refresh_token: Option<Secret>,
    /// The granted scope. It is always part of the answer.
    pub scope: String,
}

/// Issues tokens.
#[derive(Clone, Debug)]
pub struct Issuance {
    /// Signs access tokens and derives refresh tokens.
    pub keys: Arc<Keys>,
    /// `iss`.
    pub issuer: Issuer,
    /// Lifetime of access tokens, unless the client's settings say otherwise.
    pub access_token_lifetime: Seconds,
}

/// The user that the tokens are about.
#[derive(Debug)]
pub struct Subject<'a> {
    /// `sub`.
    pub user_id: &'a UserId,
    /// Claim `preferred_username`, for clients that are configured to get it.
    pub username: &'a Username,
    /// Claim `roles`, for clients that are configured to get it.
    pub roles: &'a [String],
}

/// The session of the tokens, as it will be stored when they are sent.
#[derive(Debug)]
pub struct OfSession<'a> {
    /// `sid`.
    pub id: &'a SessionId,
    /// The generation of its current refresh token.
    pub generation: i64,
    /// When the user's password was verified.
    pub auth_time: Timestamp,
    /// Whether its login used a second factor.
    pub second_factor: bool,
    /// When it was last refreshed, and when it ends.
    pub dates: SessionDates,
}

impl Issuance {
    /// Lifetime of this client's access tokens.
    #[must_use]
    pub fn access_token_lifetime(&self, client: &Client) -> Seconds {
        client.settings.access_token_lifetime.unwrap_or(self.access_token_lifetime)
    }

    /// Issues an access token that expires no later than its session and key, and a refresh token if the client may.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if no key can be opened here; [`Refusal::Fault`] if signing fails.
    pub fn issue(
        &self,
        client: &Client,
        subject: &Subject<'_>,
        session: &OfSession<'_>,
        authorized: Authorized,
        now: Timestamp,
    ) -> Result<TokenResponse, Refusal> {
        let signer = self.keys.signer(now)?;
        let lifetime = self.access_token_lifetime(client);
        let expires_at = now.after(lifetime).min(session.dates.expires_at);
        // `gone_at` is set when this replica cannot open the key that should sign: then an older one signs, which may
        // leave the key set before the token expires.
        let expires_at = signer.gone_at.map_or(expires_at, |gone_at| expires_at.min(gone_at));
        let scope = authorized.scope.to_string();
        let settings = &client.settings;
        let wants = |claim| settings.claims.contains(&claim);
        let claims = AccessTokenClaims {
            typ: settings.access_token_typ,
            iss: self.issuer.as_str().to_owned(),
            sub: subject.user_id.clone(),
            aud: AudienceClaim::new(authorized.audiences, settings.audience_array),
            client_id: client.id.clone(),
            iat: now,
            exp: expires_at,
            jti: random::token_id(),
            auth_time: session.auth_time,
            amr: second_factor::amr(session.second_factor)
                .iter()
                .map(|method| (*method).to_owned())
                .collect(),
            acr: second_factor::acr(session.second_factor).map(str::to_owned),
            scope: authorized.scope,
            sid: session.id.clone(),
            roles: wants(OptionalClaim::Roles).then(|| subject.roles.to_vec()),
            preferred_username: wants(OptionalClaim::PreferredUsername)
                .then(|| subject.username.to_string()),
        };
        let access_token = signer.sign(&claims);
        let access_token = access_token.map_err(|error| Refusal::Fault(error.to_string()))?;
        let refresh_token = if settings.grants.contains(&GrantType::RefreshToken) {
            Some(self.refresh_token(session)?)
        } else {
            None
        };
        let expires_in = expires_at.since(now).get();
        let access_token = Secret::new(access_token);
        Ok(TokenResponse { access_token, expires_in, refresh_token, scope })
    }

    fn refresh_token(&self, session: &OfSession<'_>) -> Result<Secret, Refusal> {
        let claims =
            RefreshTokenClaims { session: session.id.clone(), generation: session.generation };
        self.keys.derive_refresh_token(&claims, session.dates.refreshed_at)
    }
}
