//! Refreshing sessions: compare and set, on PostgreSQL for many of them in one statement.

use std::collections::HashSet;

use tokio::time::timeout;

use super::postgres::Postgres;
use super::sharing::{Shareable, Shared, Waiting};
use super::value::Value;
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::SessionId;
use jeton_oauth::session::SessionDates;

/// Refreshes a session; `false`, and nothing done, if it is not as it was read.
#[derive(Clone, Debug)]
pub struct RefreshSession {
    /// The session.
    pub id: SessionId,
    /// The generation that was read.
    pub from: i64,
    /// The generation that it gets.
    pub to: i64,
    /// When it was last used and when it ends.
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

/// Refreshes a session on PostgreSQL: together with others if that can be done at once, else by itself.
pub(super) async fn refresh(
    refresh: RefreshSession,
    shared: &Shared<RefreshSession>,
    postgres: &Postgres,
) -> Result<bool, StoreError> {
    let refreshing = async {
        if shared.ask(refresh.clone(), postgres).await? {
            return Ok(true);
        }
        // Somebody else has the row, or changed it. This waits for that, and nobody waits with it.
        postgres.perform(refresh).await
    };
    let late = |_| StoreError::Unavailable(RefreshSession::LATE.to_owned());
    timeout(Access::Write.patience(), refreshing).await.unwrap_or_else(|gone| Err(late(gone)))
}

/// Refreshes those of some sessions that are as they were read and that nobody has locked.
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
    /// Whether it was done. If not, it is for a statement of its own to say why.
    type Answer = bool;

    const LATE: &'static str =
        "the database did not answer in time: whether the session is refreshed is not known";

    /// Of two who refresh one session, only one may find it as it was read.
    fn goes_with(&self, others: &[Waiting<Self>]) -> bool {
        others.iter().all(|other| other.wanted.id != self.id)
    }

    async fn ask(batch: Vec<Waiting<Self>>, postgres: &Postgres) {
        let all = RefreshSessions(batch.iter().map(|waiting| waiting.wanted.clone()).collect());
        let refreshed = match postgres.perform(all).await {
            // It may have been done, or another attempt would come to the same.
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            // Whatever is wrong with one of them is no reason to refuse the others.
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
