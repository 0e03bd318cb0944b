//! The refresh grant (RFC 6749 §6), with rotation for every client (RFC 9700 §4.14.2).

use super::issuance::{Issuance, OfSession, Subject};
use super::token::TokenResponse;
use super::{Incident, Refusal, Trail};
use crate::clock::{Clock, Seconds};
use crate::oauth::refresh_token::RefreshTokenClaims;
use crate::oauth::session::{Presented, SessionLifetimes};
use crate::oauth::token_request::RefreshGrant;
use crate::oauth::{Client, Parameters, Reason};
use crate::store::Store;
use crate::store::sessions::{EndSession, RefreshSession};

/// How often a grant is decided when its session is refreshed by another request meanwhile. The second
/// time finds a retry or a reuse, unless the session was refreshed yet again.
const ATTEMPTS_MAX: usize = 4;

/// Decides on refresh grants.
#[derive(Debug)]
pub struct RefreshGrantEndpoint {
    /// The sessions.
    pub store: Store,
    /// Who issues.
    pub issuance: Issuance,
    /// How long sessions live, unless the client says otherwise.
    pub lifetimes: SessionLifetimes,
    /// For how long a token that was just exchanged is answered with the same successor.
    pub retry_window: Seconds,
    /// What time it is.
    pub clock: Clock,
}

impl RefreshGrantEndpoint {
    /// Turns a refresh token into an access token and the next refresh token. Whatever is refused
    /// consumes nothing.
    ///
    /// # Errors
    /// [`Refusal`]. Whatever is wrong with the token or its session looks the same.
    pub async fn decide(
        &self,
        client: &Client,
        grant: &RefreshGrant<'_>,
        form: &Parameters,
        trail: &mut Trail,
    ) -> Result<TokenResponse, Refusal> {
        // 1. See that this service made the token; a forged one never gets to the database.
        let claims = self.issuance.keys.verify_refresh_token(grant.refresh_token).await?;
        let claims = claims.ok_or(Reason::ForgedRefreshToken)?;
        trail.session = Some(claims.session.clone());
        // 2. All that follows from what is stored; again, if that changed meanwhile.
        for _ in 0..ATTEMPTS_MAX {
            if let Some(answer) = self.attempt(client, &claims, form, trail).await? {
                return Ok(answer);
            }
        }
        let detail = format!("the session {} is refreshed faster than it is read", claims.session);
        Err(Refusal::Unavailable { retry_after: Seconds::new(1), detail })
    }

    /// Decides by the session as it is; `None` if it changed before that could take effect.
    async fn attempt(
        &self,
        client: &Client,
        claims: &RefreshTokenClaims,
        form: &Parameters,
        trail: &mut Trail,
    ) -> Result<Option<TokenResponse>, Refusal> {
        // 1. The session, which must be alive and the client's own (§6, §10.4).
        let session = self.store.find_session(claims.session.clone()).await?;
        let session = session.ok_or(Reason::NoSession)?;
        trail.user = Some(session.user_id.clone());
        let now = self.clock.now();
        if session.client_id != client.id {
            return Err(Reason::ForeignRefreshToken.into());
        }
        if !session.dates.are_live(now) {
            return Err(Reason::NoSession.into());
        }
        // 2. What it means that this token is presented (RFC 9700 §4.14.2).
        let (stored, refreshed_at) = (session.generation, session.dates.refreshed_at);
        let presented =
            Presented::judge(claims.generation, stored, refreshed_at, now, self.retry_window);
        if presented == Presented::Reused {
            // Somebody has a copy of its tokens: it ends, its access tokens included.
            self.store.perform(EndSession { id: session.id, client_id: None }).await?;
            trail.incident = Some(Incident {
                event: "refresh_token_reused",
                presented: Some(claims.generation),
                stored: Some(stored),
                meaning: "a refresh token came again after it was exchanged: its session was ended",
            });
            return Err(Reason::RefreshTokenReused.into());
        }
        // 3. What user and client may still have of what was granted.
        let authorized =
            session.granted.narrow(form, &client.settings, session.owner.scope.as_ref())?;
        // 4. The session as it will be: as it is, for a retry.
        let (generation, dates) = if presented == Presented::Retry {
            (stored, session.dates)
        } else {
            let idle = client.session_lifetimes(self.lifetimes).idle;
            (claims.generation.saturating_add(1), session.dates.refreshed(now, idle))
        };
        // 5. The tokens, before anything is consumed.
        let owner = &session.owner;
        let subject =
            Subject { user_id: &session.user_id, username: &owner.username, roles: &owner.roles };
        let auth_time = session.auth_time;
        let of_session = OfSession { id: &session.id, generation, auth_time, dates };
        let answer = self.issuance.issue(client, &subject, &of_session, authorized, now)?;
        // 6. Compare and set: of all who got this far with one token, one goes on.
        if presented == Presented::Retry {
            return Ok(Some(answer));
        }
        let refresh =
            RefreshSession { id: session.id.clone(), from: stored, to: generation, dates };
        if !self.store.perform(refresh).await? {
            return Ok(None);
        }
        if presented == Presented::Ahead {
            trail.incident = Some(Incident {
                event: "session_caught_up",
                presented: Some(claims.generation),
                stored: Some(stored),
                meaning: "a genuine refresh token was ahead of the database, which lost writes",
            });
        }
        Ok(Some(answer))
    }
}
