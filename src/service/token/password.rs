//! The password grant (RFC 6749 §4.3).

use std::sync::Arc;

use super::issuance::{Issuance, OfSession, Subject, TokenResponse};
use super::second_factor::{self, Accepted};
use crate::agreed_clock::AgreedClock;
use crate::throttle::origin::Origin;
use crate::throttle::{Account, AccountOf, SentCode, Throttle};
use crate::{AuditContext, FormRequest, Refusal};
use jeton_crypto::data_key::{DataKeys, sealed_under};
use jeton_crypto::hashing_pool::{HashingPool, Requester};
use jeton_crypto::password::PasswordHash;
use jeton_crypto::random;
use jeton_oauth::authorization::Requested;
use jeton_oauth::client::GrantType;
use jeton_oauth::resource_owner::{self, Password, Username};
use jeton_oauth::session::{SessionDates, SessionLifetimes};
use jeton_oauth::token_request::PasswordGrant;
use jeton_oauth::{Client, KeyId, Parameters, Reason, Secret, Timestamp, UserId};
use jeton_runtime::caller::CallerConnection;
use jeton_store::Store;
use jeton_store::data_keys::StoredHash;
use jeton_store::second_factors::StoredSecondFactors;
use jeton_store::sessions::OpenSession;
use jeton_store::users::{FindUserOrOther, User, UserOrOther};

/// How often a grant is decided if the user or the client changes meanwhile.
const ATTEMPTS_MAX: usize = 2;

/// Decides on password grants.
#[derive(Debug)]
pub struct PasswordGrantEndpoint {
    /// Stores users and sessions.
    pub store: Store,
    /// Counts failures.
    pub throttle: Throttle,
    /// Verifies passwords.
    pub hashing: Arc<HashingPool>,
    /// Issues the tokens.
    pub issuance: Issuance,
    /// Lifetimes of sessions, unless the client's settings say otherwise.
    pub lifetimes: SessionLifetimes,
    /// How many sessions a user may have through one client.
    pub sessions_max: i64,
    /// Tells the time while the machine's clock is right.
    pub clock: Arc<AgreedClock>,
}

/// A login whose password is to be verified.
struct Login<'a> {
    client: &'a Client,
    user: Result<User, Reason>,
    /// The user's, or another's.
    password_hash: Option<Secret>,
    /// What the code proves. It counts only if the password is right.
    code: Result<Option<Accepted>, Refusal>,
}

/// A login whose password is right.
struct Verified {
    user: User,
    /// What its code has proved, if the user has a second factor.
    accepted: Option<Accepted>,
    /// A hash of the current cost, sealed if hashes are.
    replacement: Option<Secret>,
}

impl Verified {
    /// Seals the new hash under the data key of this id, if there is one.
    fn sealing(mut self, id: Option<&KeyId>, keys: &DataKeys) -> Self {
        if let Some(key) = id.and_then(|id| keys.find(id)) {
            self.replacement = self.replacement.map(|hash| key.seal(&self.user.id, &hash));
        }
        self
    }
}

impl PasswordGrantEndpoint {
    /// Turns a password into tokens.
    ///
    /// # Errors
    /// [`Refusal`]. Whatever is wrong with the user or the password, the refusal is the same and takes the same work
    /// (RFC 6749 §10.10).
    pub async fn decide(
        &self,
        client: &Client,
        grant: &PasswordGrant<'_>,
        form: &Parameters,
        request: &FormRequest,
        audit: &mut AuditContext,
    ) -> Result<TokenResponse, Refusal> {
        // 1. The requested scope and audience, if the client may have them (§3.3, RFC 8707 §2).
        let requested = Requested::read(form, &client.settings)?;
        // 2. Decide by what is stored. Decide again if that changed before the session was opened: another login may
        //    only have replaced the hash by a stronger one.
        let mut outcome = Err(Reason::ChangedMeanwhile.into());
        for _ in 0..ATTEMPTS_MAX {
            outcome = self.attempt(client, grant, requested.clone(), request, audit).await;
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
        request: &FormRequest,
        audit: &mut AuditContext,
    ) -> Result<TokenResponse, Refusal> {
        // 1. Find the user. Names are stored in their prepared form only.
        let typed = grant.username.expose();
        let username = Username::parse(typed);
        let name = username.as_ref().map_or(typed, Username::as_str);
        // The same unknown name always gets the same decoy.
        let decoy_number = self.issuance.keys.throttle_key()?.decoy_number(name);
        let find = FindUserOrOther { username: username.clone(), decoy_number };
        let UserOrOther { user, password_hash, data_key, factors } =
            self.store.perform(find).await?;
        let sealed_under = password_hash.as_ref().and_then(|hash| sealed_under(&hash.text));
        let needed: Vec<&KeyId> = data_key.iter().chain(&sealed_under).collect();
        // Without these keys, a right password looks like a wrong one: nothing is judged or counted.
        let data_keys = self.issuance.keys.data_keys(&needed).await?;
        // A hash that was altered stays sealed, and is then no hash that can be used.
        let password_hash = password_hash
            .map(|StoredHash { user_id, text }| data_keys.open(&user_id, &text).unwrap_or(text));
        audit.user = user.as_ref().map(|user| user.id.clone());
        // 2. Check that one more attempt may be made. An unknown name counts like a known one.
        let account = Account {
            of: user.as_ref().map_or(AccountOf::Name(name), |user| AccountOf::User(&user.id)),
            password_changed_at: user
                .as_ref()
                .map_or_else(Timestamp::default, User::failures_since),
        };
        let origin = Origin::new(client, request.source);
        audit.unnamed_end_user = origin.lacks_end_user();
        if audit.unnamed_end_user {
            self.throttle.warn_of_unnamed_end_users(client);
        }
        let attempt = self.throttle.admit(origin, account, &request.caller).await?;
        // 3. Judge the code, then verify the password. No database connection is held meanwhile. What a code proves counts
        //    only with the right password, and nothing is done later that would tell by its time that it was right.
        let sent = grant.otp.filter(|_| attempt.allows_codes());
        let code = self.judge(client, grant, factors.as_ref(), sent).await;
        let guess = self.throttle.guess(password_hash.as_ref(), grant.password, grant.otp);
        let on_behalf_of = Requester { client: client.id.clone(), known: attempt.is_known() };
        let user = user.ok_or(if resource_owner::has_outer_blank(typed) {
            Reason::BlankInUsername
        } else {
            Reason::UnknownUser
        });
        let login = Login { client, user, password_hash, code };
        let verified = self.verify(login, grant.password, on_behalf_of, &request.caller).await;
        // 4. Count the outcome before it is answered.
        let verified = match verified {
            Ok(verified) => verified.sealing(data_key.as_ref(), &data_keys),
            Err(refusal @ Refusal::Protocol(reason)) if reason != Reason::MfaRequired => {
                let sent = sent_code(grant.otp, reason);
                return Err(attempt.failed(refusal, guess, sent, audit).await);
            }
            // A client that is told that a code is missing asks for it and sends the password once more.
            Err(refusal) => {
                attempt.not_made().await?;
                return Err(refusal);
            }
        };
        // With a code the attempt succeeds when its session is open: another login may use the code first.
        let attempt = if verified.accepted.is_some() {
            Some(attempt)
        } else {
            attempt.succeeded(false).await?;
            None
        };
        // 5. Limit the scope to what the user may have. Make the tokens and open the session.
        let answer = self.grant(client, verified, requested, audit).await;
        match (attempt, &answer) {
            (None, _) => {}
            (Some(attempt), Ok(_)) => {
                if let Err(refusal) = attempt.succeeded(true).await {
                    tracing::warn!("a login is not recorded for throttling: {}", refusal.label());
                }
            }
            (Some(attempt), Err(_)) => attempt.not_made().await?,
        }
        answer
    }

    /// Judges the code of a user, or of another one if the name is unknown. `sent` is nothing if too many were wrong.
    async fn judge(
        &self,
        client: &Client,
        grant: &PasswordGrant<'_>,
        factors: Option<&(UserId, StoredSecondFactors)>,
        sent: Option<&Secret>,
    ) -> Result<Option<Accepted>, Refusal> {
        let Some((id, factors)) = factors else { return Ok(None) };
        let now = self.clock.now()?;
        match second_factor::judge(&self.issuance.keys, id, factors.get(), sent, now).await {
            Err(Refusal::Protocol(Reason::MissingCode)) if grant.otp.is_some() => {
                Err(Reason::ThrottledCode.into())
            }
            Err(Refusal::Protocol(Reason::MissingCode)) if client.settings.tells_second_factor => {
                Err(Reason::MfaRequired.into())
            }
            judged => judged,
        }
    }

    /// Verifies the password. For an unknown user, verifies against another user's hash, so that both take as long.
    /// Checks last whether the account may log in and what its code proves, for the same reason.
    async fn verify(
        &self,
        Login { client, user, password_hash, code }: Login<'_>,
        password: &Secret,
        on_behalf_of: Requester,
        caller: &CallerConnection,
    ) -> Result<Verified, Refusal> {
        let memory_max = self.hashing.limits().memory_per_thread;
        let parse = |text: &Secret| PasswordHash::parse(text.expose(), memory_max);
        let stored = password_hash.as_ref().map(parse);
        if let (Ok(user), Some(Err(error))) = (&user, &stored) {
            // Logged in a task of its own, so that the answer takes no longer for such a user.
            let (user_id, error) = (user.id.clone(), *error);
            tokio::spawn(async move { tracing::error!(%user_id, "{error}") });
        }
        let usable = stored.as_ref().and_then(|stored| stored.as_ref().ok()).cloned();
        let may_log_in =
            code.is_ok() && user.as_ref().is_ok_and(|user| require_login(user, client).is_ok());
        let password = Password::new(password.clone());
        let verification =
            self.hashing.verify(password, usable, may_log_in, on_behalf_of, caller.clone()).await?;
        match (user, stored) {
            (Err(reason), _) => Err(reason.into()),
            (_, None) => Err(Reason::UnknownUser.into()),
            (_, Some(Err(_))) => Err(Reason::UnusablePasswordHash.into()),
            (Ok(_), Some(Ok(_))) if !verification.matches => Err(Reason::WrongPassword.into()),
            (Ok(user), Some(Ok(_))) => {
                require_login(&user, client)?;
                let replacement = verification.replacement.map(Secret::new);
                Ok(Verified { user, accepted: code?, replacement })
            }
        }
    }

    /// Makes the tokens, then opens the session: an answer is sent only after its session is stored.
    async fn grant(
        &self,
        client: &Client,
        Verified { user, accepted, replacement }: Verified,
        requested: Requested,
        audit: &mut AuditContext,
    ) -> Result<TokenResponse, Refusal> {
        let second_factor = accepted.is_some();
        let withheld = client.withheld_scope(second_factor);
        let granted = requested.limit_to(user.scope.as_ref(), &withheld)?;
        let id = random::session_id();
        audit.session = Some(id.clone());
        audit.second_factor = accepted.as_ref().map(|accepted| accepted.label.clone());
        let now = self.clock.now()?;
        // Without a refresh token, a session is useless after its access token has expired.
        let can_be_refreshed = client.settings.grants.contains(&GrantType::RefreshToken);
        let lifetimes = if can_be_refreshed {
            client.session_lifetimes(self.lifetimes)
        } else {
            let once = self.issuance.access_token_lifetime(client);
            SessionLifetimes { idle: once, absolute: once }
        };
        let dates = SessionDates::opened(now, lifetimes);
        let subject = Subject { user_id: &user.id, username: &user.username, roles: &user.roles };
        let session = OfSession { id: &id, generation: 0, auth_time: now, second_factor, dates };
        let authorized = granted.whole(&client.settings)?;
        let answer = self.issuance.issue(client, &subject, &session, authorized, now)?;
        let open = OpenSession {
            id,
            user_id: user.id,
            client_id: client.id.clone(),
            granted,
            dates,
            verified_hash: user.password_hash,
            replacement_hash: replacement,
            second_factors: user.second_factors,
            used_factors: accepted.map(|accepted| accepted.after),
            can_be_refreshed,
            sessions_max: self.sessions_max,
        };
        audit.ended = self.store.perform(open).await?.ok_or(Reason::ChangedMeanwhile)?;
        Ok(answer)
    }
}

/// Whether a user whose password is right may log in with it, and with a code where there is one.
fn require_login(user: &User, client: &Client) -> Result<(), Reason> {
    if user.disabled_at.is_some() {
        return Err(Reason::DisabledUser);
    }
    let is_required = user.mfa_required_at.is_some() || client.settings.requires_mfa;
    if is_required && !user.second_factors.get().are_in_use() {
        return Err(Reason::SecondFactorRequired);
    }
    if user.password_temporary_at.is_some() { Err(Reason::TemporaryPassword) } else { Ok(()) }
}

/// Whether a password alone may speak for a user.
pub(crate) fn may_use_password(user: &User) -> Result<(), Reason> {
    if user.disabled_at.is_some() {
        Err(Reason::DisabledUser)
    } else if user.mfa_required_at.is_some() || user.second_factors.get().are_in_use() {
        Err(Reason::SecondFactorRequired)
    } else {
        Ok(())
    }
}

/// What was sent as a code in a login that failed for this reason.
fn sent_code(otp: Option<&Secret>, reason: Reason) -> SentCode {
    match (otp, reason) {
        (None, _) => SentCode::None,
        (Some(_), Reason::WrongCode | Reason::UsedCode) => SentCode::Wrong,
        (Some(_), _) => SentCode::Unjudged,
    }
}
