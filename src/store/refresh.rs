//! Refreshing sessions: compare and set. On PostgreSQL one statement refreshes many sessions.

use std::collections::HashSet;

use tokio::time::timeout;

use super::postgres::Postgres;
use super::sharing::{Shareable, Shared, Waiting};
use super::value::Value;
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::SessionId;
use jeton_oauth::session::SessionDates;

/// Refreshes a session. `false`, and nothing changed, if it is no longer as it was read.
#[derive(Clone, Debug)]
pub struct RefreshSession {
    /// The session.
    pub id: SessionId,
    /// The generation that was read.
    pub from: i64,
    /// The next generation.
    pub to: i64,
    /// When it was last refreshed and when it ends.
    pub dates: SessionDates,
}

impl UseCase for RefreshSession {
    type Outcome = bool;
    const ACCESS: Access = Access::Write;

    fn contended_row(&self) -> Option<String> {
        Some(format!("session {}", self.id.as_str()))
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let values = [
            (&self.id).into(),
            self.from.into(),
            self.to.into(),
            self.dates.refreshed_at.into(),
            self.dates.expires_at.into(),
            self.dates.deletable_at().into(),
        ];
        Ok(tx.execute(&sql::REFRESH_SESSION, &values).await? == 1)
    }
}

/// Refreshes a session on PostgreSQL: in a shared statement if possible, else in one of its own.
pub(super) async fn refresh(
    refresh: RefreshSession,
    shared: &Shared<RefreshSession>,
    postgres: &Postgres,
) -> Result<bool, StoreError> {
    let refreshing = async {
        if shared.ask(refresh.clone(), postgres).await? {
            return Ok(true);
        }
        // Another transaction has locked or changed the row. Only this request waits for it.
        postgres.perform(refresh).await
    };
    let late = |_| StoreError::Unavailable(RefreshSession::LATE.to_owned());
    timeout(Access::Write.patience(), refreshing).await.unwrap_or_else(|gone| Err(late(gone)))
}

/// Refreshes those sessions that are as they were read and that nobody has locked.
struct RefreshSessions(Vec<RefreshSession>);

impl UseCase for RefreshSessions {
    type Outcome = HashSet<SessionId>;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<HashSet<SessionId>, StoreError> {
        let numbers = |number: fn(&RefreshSession) -> i64| {
            Value::integers(self.0.iter().map(|one| number(one).into()))
        };
        let values = [
            Value::texts(self.0.iter().map(|one| (&one.id).into())),
            numbers(|one| one.from),
            numbers(|one| one.to),
            numbers(|one| one.dates.refreshed_at.0),
            numbers(|one| one.dates.expires_at.0),
            numbers(|one| one.dates.deletable_at().0),
        ];
        let rows = tx.query(&sql::REFRESH_SESSIONS, &values).await?;
        rows.iter().map(|row| row.get("session_id")).collect()
    }
}

/// A refresh that shares a statement, and so a commit, with others.
impl Shareable for RefreshSession {
    /// Whether it was done. If not, a statement of its own finds out why.
    type Answer = bool;

    const LATE: &'static str =
        "the database did not answer in time: whether the session is refreshed is not known";

    /// Of two refreshes of one session, only one can find it as it was read.
    fn goes_with(&self, others: &[Waiting<Self>]) -> bool {
        others.iter().all(|other| other.wanted.id != self.id)
    }

    async fn ask(batch: Vec<Waiting<Self>>, postgres: &Postgres) {
        let all = RefreshSessions(batch.iter().map(|waiting| waiting.wanted.clone()).collect());
        let refreshed = match postgres.perform(all).await {
            // It may have been done, or would fail again.
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            // An error of one refresh must not fail the others.
            Err(_) => Ok(HashSet::new()),
            done => done,
        };
        for waiting in batch {
            let id = &waiting.wanted.id;
            let answer = refreshed.as_ref().map(|done| done.contains(id)).map_err(Clone::clone);
            waiting.answer(answer);
        }
    }
}
