//! Sessions: one row for each login. To end a session is to delete its row.

use serde::Serialize;

use super::look_up::LookUp;
use super::operator_acts::{Act, Deed};
use super::second_factors::StoredSecondFactors;
use super::sql::LookUpStatement;
use super::value::{Row, Value};
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::authorization::Granted;
use jeton_oauth::client::Audience;
use jeton_oauth::resource_owner::Username;
use jeton_oauth::second_factor::SecondFactors;
use jeton_oauth::session::SessionDates;
use jeton_oauth::{ClientId, Scope, Secret, SessionId, Timestamp, UserId};

/// How many sessions that cannot be refreshed a user may have through one client. They end by themselves, so only
/// frequent logins reach this number. Expired ones count too, which limits the rows.
const UNREFRESHABLE_MAX: i64 = 10_000;

/// Opens a session for a user whose password was verified. Replaces the hash if there is a stronger one. Ends the
/// oldest sessions beyond the limit, and returns them. `None`, and no session, if user or client changed since they
/// were read.
#[derive(Debug)]
pub struct OpenSession {
    /// The session.
    pub id: SessionId,
    /// The user.
    pub user_id: UserId,
    /// The client.
    pub client_id: ClientId,
    /// The granted scope and audiences.
    pub granted: Granted,
    /// When it was opened and when it ends.
    pub dates: SessionDates,
    /// The stored hash that the password matched.
    pub verified_hash: Secret,
    /// A hash of the current cost, to replace the verified one.
    pub replacement_hash: Option<Secret>,
    /// The second factors as they were when the code was verified: no session is opened if they have changed since.
    pub second_factors: StoredSecondFactors,
    /// The second factors without the code that was accepted, if the login used one. Stored with the session or not at
    /// all.
    pub used_factors: Option<SecondFactors>,
    /// Whether it gets a refresh token. Without one it ends with its access token.
    pub can_be_refreshed: bool,
    /// How many sessions that can be refreshed the user may have through this client.
    pub sessions_max: i64,
}

impl UseCase for OpenSession {
    type Outcome = Option<Vec<SessionId>>;
    const ACCESS: Access = Access::Transaction;

    fn contended_row(&self) -> Option<String> {
        Some(format!("user {}", self.user_id.as_str()))
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        let opened_at = self.dates.refreshed_at;
        let replacement = self.replacement_hash.as_ref().map(Secret::expose);
        let second_factor_at = self.used_factors.as_ref().map(|_| opened_at);
        let used = self.used_factors.as_ref().map(|used| self.second_factors.replaced_by(used));
        let login = [
            (&self.user_id).into(),
            self.verified_hash.expose().into(),
            opened_at.into(),
            replacement.into(),
            self.second_factors.value(),
            used.transpose()?.flatten().as_ref().into(),
            second_factor_at.into(),
        ];
        if tx.execute(&sql::RECORD_LOGIN, &login).await? == 0 {
            return Ok(None);
        }
        let audiences = serde_json::to_string(&self.granted.audiences).expect("strings are JSON");
        let session = [
            (&self.id).into(),
            (&self.user_id).into(),
            (&self.client_id).into(),
            (&self.granted.scope.to_string()).into(),
            Value::Text(audiences),
            opened_at.into(),
            self.dates.expires_at.into(),
            self.dates.ends_at.into(),
            self.dates.deletable_at().into(),
            second_factor_at.into(),
        ];
        if tx.execute(&sql::INSERT_SESSION, &session).await? == 0 {
            // The client changed. The login is recorded nevertheless, since it did happen.
            return Ok(None);
        }
        let (most, alive_at) = if self.can_be_refreshed {
            (self.sessions_max, opened_at)
        } else {
            (UNREFRESHABLE_MAX, Timestamp(0))
        };
        let others_max = most.saturating_sub(1).max(0);
        let surplus = [
            (&self.user_id).into(),
            (&self.client_id).into(),
            (&self.id).into(),
            others_max.into(),
            alive_at.into(),
        ];
        let ended = tx.query(&sql::END_SURPLUS_SESSIONS, &surplus).await?;
        ended.iter().map(|row| row.get("session_id")).collect::<Result<_, _>>().map(Some)
    }
}

/// A stored session, perhaps expired, of a user who may log in and a client that is neither disabled nor deleted.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// `sid`.
    pub id: SessionId,
    /// `sub`.
    pub user_id: UserId,
    /// The client that opened it.
    pub client_id: ClientId,
    /// How often it was refreshed: the generation of its current refresh token.
    pub generation: i64,
    /// The scope and audiences granted at the login.
    pub granted: Granted,
    /// When the password was verified.
    pub auth_time: Timestamp,
    /// When the login used a second factor; `None` if it used none.
    pub second_factor_at: Option<Timestamp>,
    /// When it was last refreshed, and when it ends.
    pub dates: SessionDates,
    /// The user as it is now.
    pub owner: SessionOwner,
}

/// What tokens say about the session's user.
#[derive(Clone, Debug)]
pub struct SessionOwner {
    /// The prepared name.
    pub username: Username,
    /// The scope that the user may have; `None` if only the client limits it.
    pub scope: Option<Scope>,
    /// The roles.
    pub roles: Vec<String>,
}

impl StoredSession {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("session_id")?,
            user_id: row.get("user_id")?,
            client_id: row.get("client_id")?,
            generation: row.get("generation")?,
            granted: Granted { scope: row.get("scope")?, audiences: row.json("audiences")? },
            auth_time: row.get("auth_time")?,
            second_factor_at: row.get("second_factor_at")?,
            dates: read_dates(row)?,
            owner: SessionOwner {
                username: row.get("username")?,
                scope: row.get("user_scope")?,
                roles: row.json("roles")?,
            },
        })
    }
}

fn read_dates(row: &Row) -> Result<SessionDates, StoreError> {
    Ok(SessionDates {
        refreshed_at: row.get("refreshed_at")?,
        expires_at: row.get("expires_at")?,
        ends_at: row.get("ends_at")?,
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FindSession {
    pub(super) id: SessionId,
}

impl LookUp for FindSession {
    type Found = StoredSession;

    fn key(&self) -> Value {
        (&self.id).into()
    }

    fn statement() -> &'static LookUpStatement {
        &sql::FIND_SESSION
    }

    fn read(rows: &[Row]) -> Result<Vec<StoredSession>, StoreError> {
        rows.iter().map(StoredSession::read).collect()
    }

    fn is_found(&self, found: &StoredSession) -> bool {
        found.id == self.id
    }
}

/// Ends a session whose refresh token was reused; `false`, and no change, if it changed since it was read.
#[derive(Debug)]
pub struct EndReusedSession {
    /// The session.
    pub id: SessionId,
    /// The generation that was read.
    pub generation: i64,
}

impl UseCase for EndReusedSession {
    type Outcome = bool;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let values = [(&self.id).into(), self.generation.into()];
        Ok(tx.execute(&sql::END_REUSED_SESSION, &values).await? == 1)
    }
}

/// Ends a session, and returns its user. `None` if there is none, or it belongs to another client.
#[derive(Debug)]
pub struct EndSession {
    /// The session.
    pub id: SessionId,
    /// The client that the session must belong to; `None` for any.
    pub client_id: Option<ClientId>,
}

impl UseCase for EndSession {
    type Outcome = Option<UserId>;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<UserId>, StoreError> {
        let values = [(&self.id).into(), self.client_id.as_ref().into()];
        let rows = tx.query(&sql::END_SESSION, &values).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let user_id = row.get("user_id")?;
        tx.record(Act::new(Deed::SessionsEnded).on_user_id(&user_id).on(&self.id)).await?;
        Ok(Some(user_id))
    }
}

/// Ends some sessions of a user, perhaps only through one client. Leaves others, whichever. Returns how many it ended.
#[derive(Clone, Debug)]
pub struct EndSessionsOfUser {
    /// The user.
    pub user_id: UserId,
    /// Only sessions through this client; `None` for all.
    pub client_id: Option<ClientId>,
    /// Whether only those are ended that no second factor opened.
    pub without_factor: bool,
    /// How many are left.
    pub but: i64,
    /// The most rows that one call changes.
    pub limit: i64,
}

impl UseCase for EndSessionsOfUser {
    type Outcome = u64;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let values = [
            (&self.user_id).into(),
            self.client_id.as_ref().into(),
            self.limit.into(),
            self.but.into(),
            i64::from(self.without_factor).into(),
        ];
        let ended = tx.execute(&sql::END_FURTHER_SESSIONS_OF_USER, &values).await?;
        let act = Act::new(Deed::SessionsEnded).on_user_id(&self.user_id);
        tx.record(act.on_client(self.client_id.as_ref()).slice(ended)).await?;
        Ok(ended)
    }
}

/// Ends all sessions, and returns how many there were.
#[derive(Debug)]
pub struct EndAllSessions;

impl UseCase for EndAllSessions {
    type Outcome = u64;
    const ACCESS: Access = Access::LongTransaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let ended = tx.execute(&sql::END_ALL_SESSIONS, &[]).await?;
        tx.record(Act::new(Deed::SessionsEnded).affecting(ended)).await?;
        Ok(ended)
    }
}

/// Ends so many sessions, whosever these are, and returns how many there were to end.
#[derive(Clone, Debug)]
pub struct EndAnySessions {
    /// The most rows that one call changes.
    pub limit: i64,
}

impl UseCase for EndAnySessions {
    type Outcome = u64;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let ended = tx.execute(&sql::END_ANY_SESSIONS, &[self.limit.into()]).await?;
        tx.record(Act::new(Deed::SessionsEnded).slice(ended)).await?;
        Ok(ended)
    }
}

/// Counts the sessions of a client, or all; those that have expired count too, as long as they have rows.
#[derive(Debug)]
pub struct CountSessions {
    /// Only the sessions through this client; `None` for all.
    pub client_id: Option<ClientId>,
}

impl UseCase for CountSessions {
    type Outcome = i64;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        let rows = tx.query(&sql::COUNT_SESSIONS, &[self.client_id.as_ref().into()]).await?;
        rows.first().map_or(Ok(0), |row| row.get("sessions"))
    }
}

/// Ends so many of the sessions of a client, and returns how many there were to end.
#[derive(Clone, Debug)]
pub struct EndSessionsOfClient {
    /// The client.
    pub client_id: ClientId,
    /// The most rows that one call changes.
    pub limit: i64,
}

impl UseCase for EndSessionsOfClient {
    type Outcome = u64;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let values = [(&self.client_id).into(), self.limit.into()];
        let ended = tx.execute(&sql::END_SESSIONS_OF_CLIENT, &values).await?;
        tx.record(Act::new(Deed::SessionsEnded).on_client(&self.client_id).slice(ended)).await?;
        Ok(ended)
    }
}

/// A session in a listing. Serialised, it is what the command line prints.
#[derive(Clone, Debug, Serialize)]
pub struct ListedSession {
    /// `sid`.
    #[serde(rename = "session_id")]
    pub id: SessionId,
    /// The client that opened it.
    pub client_id: ClientId,
    /// The granted scope.
    pub scope: Scope,
    /// The resource servers that its tokens may be for.
    pub audiences: Vec<Audience>,
    /// How often it was refreshed.
    pub generation: i64,
    /// When the password was verified.
    pub auth_time: Timestamp,
    /// When it was last refreshed, and when it ends.
    #[serde(flatten)]
    pub dates: SessionDates,
}

/// Lists the sessions of a user that have not expired, or those through one client.
#[derive(Debug)]
pub struct ListSessionsOfUser {
    /// The user.
    pub user_id: UserId,
    /// Only sessions through this client; `None` for all.
    pub client_id: Option<ClientId>,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for ListSessionsOfUser {
    type Outcome = Vec<ListedSession>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<ListedSession>, StoreError> {
        let values = [(&self.user_id).into(), self.client_id.as_ref().into(), self.now.into()];
        let read = |row: &Row| {
            Ok(ListedSession {
                id: row.get("session_id")?,
                client_id: row.get("client_id")?,
                generation: row.get("generation")?,
                scope: row.get("scope")?,
                audiences: row.json("audiences")?,
                auth_time: row.get("auth_time")?,
                dates: read_dates(row)?,
            })
        };
        tx.query(&sql::LIST_SESSIONS_OF_USER, &values).await?.iter().map(read).collect()
    }
}

/// Deletes some sessions that have expired, and returns how many.
#[derive(Clone, Debug)]
pub struct DeleteExpiredSessions {
    /// Rows that could be deleted before this moment.
    pub before: Timestamp,
    /// The most rows that one call changes.
    pub limit: i64,
}

impl UseCase for DeleteExpiredSessions {
    type Outcome = u64;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let values = [self.before.into(), self.limit.into()];
        let deleted = tx.execute(&sql::DELETE_EXPIRED_SESSIONS, &values).await?;
        tx.record(Act::new(Deed::ExpiredSessionsDeleted).slice(deleted)).await?;
        Ok(deleted)
    }
}

/// Counts the sessions that could be deleted.
#[derive(Debug)]
pub struct CountExpiredSessions {
    /// Rows that could be deleted before this moment.
    pub before: Timestamp,
}

impl UseCase for CountExpiredSessions {
    type Outcome = i64;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        let rows = tx.query(&sql::COUNT_EXPIRED_SESSIONS, &[self.before.into()]).await?;
        rows.first().map_or(Ok(0), |row| row.get("sessions"))
    }
}
