//! The refresh grant (RFC 6749 §6), with rotation for every client (RFC 9700 §4.14.2).

use std::sync::Arc;
use std::time::Duration;

use super::client_authentication::Prefetch;
use super::issuance::{Issuance, OfSession, Subject, TokenResponse};
use crate::agreed_clock::AgreedClock;
use crate::incident::{Generations, Incident, Withheld};
use crate::keys::Keys;
use crate::{AuditContext, FormRequest, Refusal};
use jeton_crypto::key_set::Verified;
use jeton_oauth::refresh_token::RefreshTokenClaims;
use jeton_oauth::session::{Presented, SessionLifetimes};
use jeton_oauth::{Client, Parameter, Parameters, Reason, RetryWindow, Seconds, Secret, SessionId};
use jeton_runtime::availability::Availability;
use jeton_runtime::caller::CallerConnection;
use jeton_store::sessions::{EndReusedSession, StoredSession};
use jeton_store::{RefreshSession, Store};

/// How often a grant is decided when its session is refreshed by another request meanwhile, or the
/// verdict destroys. The second time finds a retry or a reuse, unless the session was refreshed yet again.
const ATTEMPTS_MAX: usize = 5;
/// How long the end of a connection is given to be seen before a session is ended.
const HANG_UP_PATIENCE: Duration = Duration::from_millis(250);

/// Decides on refresh grants.
#[derive(Debug)]
pub struct RefreshGrantEndpoint {
    /// The sessions.
    pub store: Store,
    /// Who issues.
    pub issuance: Issuance,
    /// How long sessions live, unless the client says otherwise.
    pub lifetimes: SessionLifetimes,
    /// For how long an exchanged token is answered with the same successor, if that is set.
    pub retry_window: Option<RetryWindow>,
    /// Since when this replica has been able to answer.
    pub availability: Availability,
    /// What time it is, if that is known: a clock that is off gives no verdict.
    pub clock: Arc<AgreedClock>,
}

/// The parameter of the grant (RFC 6749 §6), and what it is by the keys in hand. User name and password have no
/// meaning there.
#[derive(Debug)]
pub struct RefreshGrant<'a> {
    token: &'a Secret,
    judged: Verified<RefreshTokenClaims>,
}

impl<'a> RefreshGrant<'a> {
    /// Reads the required parameter.
    ///
    /// # Errors
    /// [`Reason::MissingParameter`] if it is absent or empty.
    pub fn read(form: &'a Parameters, keys: &Keys) -> Result<Self, Reason> {
        let token = form.require(Parameter::RefreshToken)?;
        Ok(Self { token, judged: keys.judge_refresh_token(token) })
    }

    /// The session that it continues, if this service made the token.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        match &self.judged {
            Verified::Genuine(claims) => Some(&claims.session),
            Verified::OfUnknownKey | Verified::OfClosedKey | Verified::Forged => None,
        }
    }
}

/// What is asked, and how far the decision has come.
struct Asked<'a> {
    client: &'a Client,
    claims: &'a RefreshTokenClaims,
    form: &'a Parameters,
    caller: &'a CallerConnection,
    /// The session as it was when the client was read.
    prefetch: Prefetch,
    /// Whether the end of the caller's connection was given time to be seen.
    waited: bool,
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
        grant: RefreshGrant<'_>,
        form: &Parameters,
        request: &FormRequest,
        prefetch: Prefetch,
        audit: &mut AuditContext,
    ) -> Result<TokenResponse, Refusal> {
        // 1. See that this service made the token; a forged one never gets to the database.
        let RefreshGrant { token, judged } = grant;
        let claims = self.issuance.keys.verify_refresh_token(token, judged).await?;
        let claims = &claims.ok_or(Reason::ForgedRefreshToken)?;
        audit.session = Some(claims.session.clone());
        // 2. All that follows from what is stored; again, if that changed meanwhile.
        let caller = &request.caller;
        let mut asked = Asked { client, claims, form, caller, prefetch, waited: false };
        for _ in 0..ATTEMPTS_MAX {
            if let Some(answer) = self.attempt(&mut asked, audit).await? {
                return Ok(answer);
            }
        }
        let detail = format!("the session {} is refreshed faster than it is read", claims.session);
        Err(Refusal::Unavailable { retry_after: Seconds::new(1), detail })
    }

    /// Decides by the session as it is; `None` if it changed before that could take effect, or is to be
    /// read once more.
    async fn attempt(
        &self,
        asked: &mut Asked<'_>,
        audit: &mut AuditContext,
    ) -> Result<Option<TokenResponse>, Refusal> {
        let Asked { client, claims, form, .. } = *asked;
        // 1. The session, which must be alive and the client's own (§6, §10.4).
        let session = asked.prefetch.session(&claims.session, &self.store).await?;
        audit.unknown_session = session.is_none();
        let session = session.ok_or(Reason::UnknownSession)?;
        audit.user = Some(session.user_id.clone());
        let now = self.clock.now()?;
        if session.client_id != client.id {
            return Err(Reason::ForeignRefreshToken.into());
        }
        if !session.dates.are_live(now) {
            return Err(Reason::ExpiredSession.into());
        }
        // 2. What it means that this token is presented (RFC 9700 §4.14.2). Time in which this replica
        //    could not answer does not count.
        let age = now.since(session.dates.refreshed_at);
        let elapsed = age.min(self.availability.able_for());
        let (stored, window) = (session.generation, client.retry_window(self.retry_window));
        let presented = Presented::judge(claims.generation, stored, elapsed, window);
        match presented {
            Presented::Late => return Err(withhold(asked, stored, Withheld::LateTab, audit)),
            Presented::Reused => return self.end_reused(asked, session, audit).await,
            Presented::Current | Presented::Retry | Presented::Ahead => {}
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
            audit.retried_after = Some(age);
            return Ok(Some(answer));
        }
        let refresh =
            RefreshSession { id: session.id.clone(), from: stored, to: generation, dates };
        if !self.store.refresh_session(refresh).await? {
            return Ok(None);
        }
        if presented == Presented::Ahead {
            let generations = Generations { presented: claims.generation, stored };
            audit.incident = Some(Incident::SessionCaughtUp(generations));
        }
        Ok(Some(answer))
    }

    /// Ends a session of whose tokens somebody has a copy, its access tokens included. It destroys, so it
    /// is done with care: not for a caller that has gone, not right after a standstill, and only after
    /// the session was read and judged twice; `None` asks for the second time.
    async fn end_reused(
        &self,
        asked: &mut Asked<'_>,
        session: StoredSession,
        audit: &mut AuditContext,
    ) -> Result<Option<TokenResponse>, Refusal> {
        let stored = session.generation;
        if let Some(why) = self.withheld(asked.caller) {
            return Err(withhold(asked, stored, why, audit));
        }
        if !asked.waited {
            // A caller that hung up long ago is known to have when its connection is read again.
            asked.caller.is_gone_within(HANG_UP_PATIENCE).await;
            asked.waited = true;
            return Ok(None);
        }
        let end = EndReusedSession { id: session.id, generation: stored };
        if !self.store.perform(end).await? {
            return Ok(None);
        }
        let generations = Generations { presented: asked.claims.generation, stored };
        audit.incident = Some(Incident::RefreshTokenReused { generations, withheld: None });
        Err(Reason::RefreshTokenReused.into())
    }

    /// Why no session is ended at this moment, if it is not.
    fn withheld(&self, caller: &CallerConnection) -> Option<Withheld> {
        if caller.is_gone() {
            Some(Withheld::CallerGone)
        } else if self.availability.is_waking() {
            Some(Withheld::Standstill)
        } else {
            None
        }
    }
}

/// Refuses a reused token, and notes why its session is not ended.
fn withhold(asked: &Asked<'_>, stored: i64, why: Withheld, audit: &mut AuditContext) -> Refusal {
    let generations = Generations { presented: asked.claims.generation, stored };
    audit.incident = Some(Incident::RefreshTokenReused { generations, withheld: Some(why) });
    Reason::ReuseWithheld.into()
}
