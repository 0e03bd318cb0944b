//! The password grant (RFC 6749 §4.3).

use std::sync::Arc;

use super::signing_keys::SigningKeys;
use super::token::TokenResponse;
use super::{Refusal, Trail};
use crate::clock::{Clock, Seconds, Timestamp};
use crate::crypto::hashing_pool::{HashingPool, Verification};
use crate::crypto::password::PasswordHash;
use crate::crypto::random;
use crate::oauth::access_token::{AccessTokenClaims, AudienceClaim};
use crate::oauth::authorization::{Granted, Requested};
use crate::oauth::client::OptionalClaim;
use crate::oauth::resource_owner::{Username, prepare_password};
use crate::oauth::token_request::PasswordGrant;
use crate::oauth::{Client, Issuer, Parameters, Reason, SessionId};
use crate::presence::Presence;
use crate::secret::Secret;
use crate::store::Store;
use crate::store::sessions::OpenSession;
use crate::store::users::{FindUser, User};

/// How often a grant is decided when user or client change meanwhile.
const ATTEMPTS_MAX: usize = 2;

/// Decides on password grants.
#[derive(Debug)]
pub struct PasswordGrantEndpoint {
    /// Users and sessions.
    pub store: Store,
    /// Who verifies passwords.
    pub hashing: Arc<HashingPool>,
    /// Who signs.
    pub keys: Arc<SigningKeys>,
    /// `iss`.
    pub issuer: Issuer,
    /// How long tokens live, unless the client says otherwise.
    pub access_token_lifetime: Seconds,
    /// What time it is.
    pub clock: Clock,
}

impl PasswordGrantEndpoint {
    /// Turns a password into a token.
    ///
    /// # Errors
    /// [`Refusal`]. Whatever is wrong with user or password is the same refusal after the same work
    /// (RFC 6749 §10.10).
    pub async fn decide(
        &self,
        client: &Client,
        grant: &PasswordGrant<'_>,
        form: &Parameters,
        caller: &Presence,
        trail: &mut Trail,
    ) -> Result<TokenResponse, Refusal> {
        // 1. What is asked for, as far as the client may have it (§3.3, RFC 8707 §2).
        let requested = Requested::read(form, &client.settings)?;
        // 2. All that follows from what is stored. If that changed before the session was opened,
        //    perhaps only because another login put a better hash there, it is decided again.
        let mut outcome = Err(Reason::ChangedMeanwhile.into());
        for _ in 0..ATTEMPTS_MAX {
            outcome = self.attempt(client, grant, requested.clone(), caller, trail).await;
            if !matches!(outcome, Err(Refusal::Protocol(Reason::ChangedMeanwhile))) {
                break;
            }
        }
        outcome
    }

    async fn attempt(
        &self,
        client: &Client,
        grant: &PasswordGrant<'_>,
        requested: Requested,
        caller: &Presence,
        trail: &mut Trail,
    ) -> Result<TokenResponse, Refusal> {
        // 1. The user, in the one form in which names are stored.
        let user = match Username::parse(grant.username.expose()) {
            Some(username) => self.store.perform(FindUser { username }).await?,
            None => None,
        };
        trail.user = user.as_ref().map(|user| user.id.clone());
        // 2. The password. No connection to the database is held meanwhile.
        let (user, verification) = self.verify(user, grant.password, caller).await?;
        // 3. Whether the account may log in at all; looked at last, so that it costs the same.
        if user.disabled_at.is_some() {
            return Err(Reason::DisabledUser.into());
        }
        if user.mfa_required_at.is_some() {
            return Err(Reason::SecondFactorRequired.into());
        }
        // 4. What the user may have of it.
        let granted = requested.limit_to(user.scope.as_ref())?;
        // 5. The token; then the session, so that nothing is answered that is not durable.
        self.issue(client, user, granted, verification.replacement).await
    }

    /// Verifies a password, or does the same work for a user that there is not.
    async fn verify(
        &self,
        user: Option<User>,
        password: &Secret,
        caller: &Presence,
    ) -> Result<(User, Verification), Refusal> {
        let memory_max = self.hashing.limits().memory_per_thread;
        let parse = |user: &User| PasswordHash::parse(user.password_hash.expose(), memory_max);
        let stored = user.as_ref().map(parse);
        if let (Some(user), Some(Err(error))) = (&user, &stored) {
            tracing::error!(user_id = %user.id, "{error}");
        }
        let usable = stored.as_ref().and_then(|stored| stored.as_ref().ok()).cloned();
        let normalised = prepare_password(password);
        // A password that no user can have is compared with nothing, at the usual price.
        let usable = if normalised.is_some() { usable } else { None };
        let presented = normalised.unwrap_or_else(|| password.clone());
        let verification = self.hashing.verify(presented, usable, caller.clone()).await?;
        match (user, stored) {
            (None, _) | (_, None) => Err(Reason::UnknownUser.into()),
            (_, Some(Err(_))) => Err(Reason::UnusablePasswordHash.into()),
            (Some(user), Some(Ok(_))) if verification.matches => Ok((user, verification)),
            (Some(_), Some(Ok(_))) => Err(Reason::WrongPassword.into()),
        }
    }

    async fn issue(
        &self,
        client: &Client,
        user: User,
        granted: Granted,
        replacement_hash: Option<String>,
    ) -> Result<TokenResponse, Refusal> {
        let now = self.clock.now();
        let lifetime = client.settings.access_token_lifetime.unwrap_or(self.access_token_lifetime);
        let session = random::session_id();
        let claims = self.claims(client, &user, &granted, &session, now, lifetime);
        let access_token = self.keys.ring().sign(&claims).map_err(Refusal::Fault)?;
        let scope = granted.scope.to_string();
        let opened = self
            .store
            .perform(OpenSession {
                id: session,
                user_id: user.id,
                client_id: client.id.clone(),
                scope: granted.scope,
                audiences: granted.audiences,
                auth_time: now,
                expires_at: claims.exp,
                verified_hash: user.password_hash,
                replacement_hash: replacement_hash.map(Secret::new),
            })
            .await?;
        if !opened {
            return Err(Reason::ChangedMeanwhile.into());
        }
        let access_token = Secret::new(access_token);
        Ok(TokenResponse { access_token, expires_in: lifetime.get(), scope })
    }

    fn claims(
        &self,
        client: &Client,
        user: &User,
        granted: &Granted,
        session: &SessionId,
        now: Timestamp,
        lifetime: Seconds,
    ) -> AccessTokenClaims {
        let settings = &client.settings;
        let wants = |claim| settings.claims.contains(&claim);
        AccessTokenClaims {
            iss: self.issuer.as_str().to_owned(),
            sub: user.id.clone(),
            aud: AudienceClaim::new(granted.audiences.clone(), settings.audience_array),
            client_id: client.id.clone(),
            iat: now,
            exp: now.after(lifetime),
            jti: random::token_id(),
            auth_time: now,
            scope: granted.scope.clone(),
            sid: session.clone(),
            roles: wants(OptionalClaim::Roles).then(|| user.roles.clone()),
            preferred_username: wants(OptionalClaim::PreferredUsername)
                .then(|| user.username.clone()),
        }
    }
}
