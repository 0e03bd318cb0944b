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

/// How often a grant is decided if another request refreshes the session meanwhile, or before the session is ended. The
/// second decision finds a retry or a reuse, unless the session was refreshed once more.
const ATTEMPTS_MAX: usize = 5;
/// How long to wait for the end of the caller's connection before a session is ended.
const HANG_UP_PATIENCE: Duration = Duration::from_millis(250);

/// Decides on refresh grants.
#[derive(Debug)]
pub struct RefreshGrantEndpoint {
    /// Stores the sessions.
    pub store: Store,
    /// Issues the tokens.
    pub issuance: Issuance,
    /// Lifetimes of sessions, unless the client's settings say otherwise.
    pub lifetimes: SessionLifetimes,
    /// How long an exchanged token gets the same successor again; `None` if never.
    pub retry_window: Option<RetryWindow>,
    /// Since when this replica has been able to answer.
    pub availability: Availability,
    /// Tells the time while the machine's clock is right.
    pub clock: Arc<AgreedClock>,
}

/// The parameter of the grant (RFC 6749 §6), and the result of authenticating it. User name and password are not read.
#[derive(Debug)]
pub struct RefreshGrant<'a> {
    token: &'a Secret,
    judged: Verified<RefreshTokenClaims>,
}

impl<'a> RefreshGrant<'a> {
    /// Reads the refresh token.
    ///
    /// # Errors
    /// [`Reason::MissingParameter`] if it is absent or empty.
    pub fn read(form: &'a Parameters, keys: &Keys) -> Result<Self, Reason> {
        let token = form.require(Parameter::RefreshToken)?;
        Ok(Self { token, judged: keys.judge_refresh_token(token) })
    }

    /// The session of the token, if this service made the token.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        match &self.judged {
            Verified::Genuine(claims) => Some(&claims.session),
            Verified::OfUnknownKey | Verified::OfClosedKey | Verified::Forged => None,
        }
    }
}

/// A request, and how far its decision has come.
struct Decision<'a> {
    client: &'a Client,
    claims: &'a RefreshTokenClaims,
    form: &'a Parameters,
    caller: &'a CallerConnection,
    /// The session as it was when the client was read.
    prefetch: Prefetch,
    /// Whether the end of the caller's connection has been waited for.
    waited: bool,
}

impl RefreshGrantEndpoint {
    /// Turns a refresh token into an access token and the next refresh token. A refusal changes nothing, except on
    /// reuse.
    ///
    /// # Errors
    /// [`Refusal`]. Whatever is wrong with the token or its session, the answer is the same.
    pub async fn decide(
        &self,
        client: &Client,
        grant: RefreshGrant<'_>,
        form: &Parameters,
        request: &FormRequest,
        prefetch: Prefetch,
        audit: &mut AuditContext,
    ) -> Result<TokenResponse, Refusal> {
        // 1. Authenticate the token. A forged one never reaches the database.
        let RefreshGrant { token, judged } = grant;
        let claims = self.issuance.keys.verify_refresh_token(token, judged).await?;
        let claims = &claims.ok_or(Reason::ForgedRefreshToken)?;
        audit.session = Some(claims.session.clone());
        // 2. Decide by what is stored, and decide again if that changed meanwhile.
        let caller = &request.caller;
        let mut decision = Decision { client, claims, form, caller, prefetch, waited: false };
        for _ in 0..ATTEMPTS_MAX {
            if let Some(answer) = self.attempt(&mut decision, audit).await? {
                return Ok(answer);
            }
        }
        let detail = format!("the session {} is refreshed faster than it is read", claims.session);
        Err(Refusal::Unavailable { retry_after: Seconds::new(1), detail })
    }

    /// Decides by the session as it is now. `None` if it changed before this was stored, or must be read once more.
    async fn attempt(
        &self,
        decision: &mut Decision<'_>,
        audit: &mut AuditContext,
    ) -> Result<Option<TokenResponse>, Refusal> {
        let Decision { client, claims, form, .. } = *decision;
        // 1. Find the session. It must be alive and belong to the client (§6, §10.4).
        let session = decision.prefetch.session(&claims.session, &self.store).await?;
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
        // 2. Compare the generations (RFC 9700 §4.14.2). Time in which this replica could not answer does not count.
        let age = now.since(session.dates.refreshed_at);
        let elapsed = age.min(self.availability.able_for());
        let (stored, window) = (session.generation, client.retry_window(self.retry_window));
        let presented = Presented::judge(claims.generation, stored, elapsed, window);
        match presented {
            Presented::Late => return Err(withhold(decision, stored, Withheld::LateTab, audit)),
            Presented::Reused => return self.end_reused(decision, session, audit).await,
            Presented::Current | Presented::Retry | Presented::Ahead => {}
        }
        // 3. Reduce scope and audience to what user and client still may have of what was granted.
        let second_factor = session.second_factor_at.is_some();
        if client.settings.requires_mfa && !second_factor {
            return Err(Reason::SecondFactorRequired.into());
        }
        let withheld = client.withheld_scope(second_factor);
        let of_user = session.owner.scope.as_ref();
        let authorized = session.granted.narrow(form, &client.settings, of_user, &withheld)?;
        // 4. Compute the session's next state. A retry leaves it as it is.
        let (generation, dates) = if presented == Presented::Retry {
            (stored, session.dates)
        } else {
            let idle = client.session_lifetimes(self.lifetimes).idle;
            (claims.generation.saturating_add(1), session.dates.refreshed(now, idle))
        };
        // 5. Make the tokens before anything is stored.
        let owner = &session.owner;
        let subject =
            Subject { user_id: &session.user_id, username: &owner.username, roles: &owner.roles };
        let auth_time = session.auth_time;
        let of_session = OfSession { id: &session.id, generation, auth_time, second_factor, dates };
        let answer = self.issuance.issue(client, &subject, &of_session, authorized, now)?;
        // 6. Compare and set: of several requests with one token, one succeeds.
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

    /// Ends a session because somebody has a copy of its tokens. Its access tokens end with it. Since this cannot be
    /// undone, it is not done for a caller that has gone, nor right after a standstill, and only after the session was
    /// read and judged twice. `None` asks for the second time.
    async fn end_reused(
        &self,
        decision: &mut Decision<'_>,
        session: StoredSession,
        audit: &mut AuditContext,
    ) -> Result<Option<TokenResponse>, Refusal> {
        let stored = session.generation;
        if let Some(why) = self.withheld(decision.caller) {
            return Err(withhold(decision, stored, why, audit));
        }
        if !decision.waited {
            // A connection that ended long ago may only be noticed at the next read.
            decision.caller.is_gone_within(HANG_UP_PATIENCE).await;
            decision.waited = true;
            return Ok(None);
        }
        let end = EndReusedSession { id: session.id, generation: stored };
        if !self.store.perform(end).await? {
            return Ok(None);
        }
        let generations = Generations { presented: decision.claims.generation, stored };
        audit.incident = Some(Incident::RefreshTokenReused { generations, withheld: None });
        Err(Reason::RefreshTokenReused.into())
    }

    /// Why the session is not ended now; `None` if it may be.
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

/// Refuses a reused token, and records why its session is not ended.
fn withhold(
    decision: &Decision<'_>,
    stored: i64,
    why: Withheld,
    audit: &mut AuditContext,
) -> Refusal {
    let generations = Generations { presented: decision.claims.generation, stored };
    audit.incident = Some(Incident::RefreshTokenReused { generations, withheld: Some(why) });
    Reason::ReuseWithheld.into()
}
