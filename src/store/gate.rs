//! The gate: whether the database takes changes, and from which programs.
//!
//! Every transaction that writes passes the gate first. On SQLite it reads the table `write_gate` in the transaction, of
//! which there is one at a time. On PostgreSQL the statement that reads the table is sent with the `BEGIN`, and holds a
//! lock of the table until the transaction ends. [`CloseGate`] takes a lock that waits for all of these. So once it has
//! returned, whatever passed the open gate has ended, and whatever comes later finds it closed.
//!
//! What comes while it is being closed waits for that, and must not see what was there before. Under `read committed` it
//! does not. Under `repeatable read` and `serializable` a statement that reads sees what was there before it waited, and
//! PostgreSQL reports no conflict. So there it comes after a statement that only waits.

use serde::Serialize;

use super::migration::newest;
use super::operator_acts::{Act, Deed};
use super::sql::{self, Statement};
use super::value::Row;
use super::{Access, StoreError, Tx, UseCase};
use jeton_oauth::Timestamp;

/// The row of `jeton db copy`.
const OF_COPY: i64 = 1;
/// The row of a migration.
const OF_MIGRATION: i64 = 2;

macro_rules! reasons {
    ($($(#[$documentation:meta])* $name:ident = $text:literal,)+) => {
        /// Why a gate is closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ClosedFor {
            $($(#[$documentation])* $name,)+
        }

        impl ClosedFor {
            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            fn parse(text: &str) -> Option<Self> {
                [$(Self::$name),+].into_iter().find(|reason| reason.as_str() == text)
            }
        }
    };
}

reasons! {
    /// `jeton db copy` copies it, or was killed while it did.
    Copying = "copying",
    /// It was copied: the other database is used instead.
    Moved = "moved",
    /// It is the target of a copy that is not complete.
    Unfinished = "unfinished",
    /// A newer program has changed the tables so that this one must not write.
    Outdated = "outdated",
}

/// A closed gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// Why.
    pub reason: ClosedFor,
    /// Programs that know fewer migrations than this may not write.
    pub closed_below: i64,
    /// Since when.
    pub since: Timestamp,
    /// The run of the program that closed it.
    pub run: String,
    /// The other database of a copy, without its password.
    pub peer: String,
}

impl Closure {
    /// A gate that is closed to all programs because of a copy from or to `peer`.
    #[must_use]
    pub fn of_copy(reason: ClosedFor, run: String, peer: String, since: Timestamp) -> Self {
        Self { reason, closed_below: i64::MAX, since, run, peer }
    }

    /// Whether the rows are whole, so that whoever only reads can go on.
    #[must_use]
    pub fn can_be_read(&self) -> bool {
        self.reason != ClosedFor::Unfinished
    }

    /// Whether a service that only reads is of use: nobody is to replace it yet.
    #[must_use]
    pub fn is_of_source(&self) -> bool {
        matches!(self.reason, ClosedFor::Copying | ClosedFor::Moved)
    }

    fn gate_id(&self) -> i64 {
        if self.reason == ClosedFor::Outdated { OF_MIGRATION } else { OF_COPY }
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let text: String = row.get("reason")?;
        let reason = ClosedFor::parse(&text)
            .ok_or_else(|| StoreError::Corrupt(format!("reason {text:?} of write_gate")))?;
        Ok(Self {
            reason,
            closed_below: row.get("closed_below")?,
            since: row.get("closed_at")?,
            run: row.get("run")?,
            peer: row.get("peer")?,
        })
    }

    pub(super) async fn store(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let values = [
            self.gate_id().into(),
            self.reason.as_str().into(),
            self.closed_below.into(),
            self.since.into(),
            (&self.run).into(),
            (&self.peer).into(),
        ];
        tx.execute(&sql::CLOSE_GATE, &values).await.map(drop)
    }
}

/// Fails if this program may not write. For SQLite, where a transaction that writes is alone. Tables of before
/// migration 9 have no gate.
pub(super) async fn pass(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    match tx.query(&sql::FIND_CLOSED_GATE, &[newest().into()]).await {
        Ok(rows) if rows.is_empty() => Ok(()),
        Ok(_) => Err(StoreError::Closed),
        Err(StoreError::NoTable(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads why this program may not write; `None` if it may. Of two reasons, the copy comes first.
#[derive(Debug)]
pub struct ReadGate;

impl UseCase for ReadGate {
    type Outcome = Option<Closure>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Closure>, StoreError> {
        closure(tx).await
    }
}

/// Why this program may not write.
pub(super) async fn closure(tx: &mut Tx<'_>) -> Result<Option<Closure>, StoreError> {
    let rows = tx.query(&sql::READ_GATE, &[]).await?;
    let closures: Result<Vec<Closure>, _> = rows.iter().map(Closure::read).collect();
    Ok(closures?.into_iter().find(|closure| closure.closed_below > newest()))
}

/// Closes the gate and waits until every transaction that had passed it has ended. Returns how it was closed before.
#[derive(Clone, Debug)]
pub struct CloseGate(pub Closure);

impl UseCase for CloseGate {
    type Outcome = Option<Closure>;
    const ACCESS: Access = Access::Definition;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Closure>, StoreError> {
        tx.lock(&sql::LOCK_GATE).await?;
        let before = closure(tx).await?;
        self.0.store(tx).await?;
        Ok(before)
    }
}

/// Changes the gate that this run has closed for a copy. `false`, and nothing changed, if another run has closed it
/// since.
#[derive(Clone, Debug)]
pub struct ChangeGate {
    /// The run.
    pub run: String,
    /// How it is to be closed; `None` to open it.
    pub to: Option<Closure>,
}

impl UseCase for ChangeGate {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;
    const PASSES_CLOSED_GATE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        if !hold(tx, &self.run).await? {
            return Ok(false);
        }
        match &self.to {
            Some(closure) => closure.store(tx).await?,
            None => open(tx, &self.run).await?,
        }
        Ok(true)
    }
}

/// Opens the gate of a source as it was read, on an operator's word. `false`, and nothing changed, if it is closed
/// otherwise by now.
#[derive(Clone, Debug)]
pub struct Reopen(pub Closure);

impl UseCase for Reopen {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;
    const PASSES_CLOSED_GATE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        if !hold(tx, &self.0.run).await? || closure(tx).await?.as_ref() != Some(&self.0) {
            return Ok(false);
        }
        open(tx, &self.0.run).await?;
        tx.record(Act::new(Deed::DatabaseReopened).on(&self.0.peer)).await?;
        Ok(true)
    }
}

/// Locks the row of a copy until the end of the transaction. `false` if another run has it.
pub(super) async fn hold(tx: &mut Tx<'_>, run: &str) -> Result<bool, StoreError> {
    Ok(changes_row(tx, &sql::HOLD_GATE, run).await? == 1)
}

pub(super) async fn open(tx: &mut Tx<'_>, run: &str) -> Result<(), StoreError> {
    changes_row(tx, &sql::OPEN_GATE, run).await.map(drop)
}

async fn changes_row(tx: &mut Tx<'_>, statement: &Statement, run: &str) -> Result<u64, StoreError> {
    tx.execute(statement, &[run.into()]).await
}
