//! Copying everything from one database to another, of the same engine or the other one.
//!
//! The gate of the source is closed first ([`gate`]), so nothing changes while rows are read page by page.
//! The target receives them in one transaction, which reads them back and compares counts and digests before it
//! commits. So a target is empty or complete. Its gate is closed from before the first row until that commit.

mod digest;
mod tables;

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::gate::{self, ClosedFor, Closure};
use super::migration::{FindMigration, newest};
use super::operator_acts::{Act, Deed};
use super::value::Value;
use super::{Access, Store, StoreError, Tx, UseCase, sql};
pub use digest::TableDigest;
use jeton_oauth::Timestamp;
pub(crate) use tables::ColumnType;
#[cfg(test)]
pub(super) use tables::sent;
use tables::{TABLES, Table};

/// How many pages wait for the target.
const PAGES_MAX: usize = 2;

type Rows = Vec<Vec<Value>>;

/// What was copied of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopiedTable {
    /// Its name.
    pub table: &'static str,
    /// How many rows.
    pub rows: u64,
    /// Their digest, the same on both engines.
    pub digest: TableDigest,
}

/// What is wrong with the target, or `Ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// It is empty, and nobody else writes to it until [`copy`] has ended.
    Ready,
    /// This table has rows.
    NotEmpty(&'static str),
}

/// Requires a target without rows, and closes its gate. The target of an interrupted copy is taken over.
#[derive(Clone, Debug)]
pub struct PrepareTarget(pub Closure);

impl UseCase for PrepareTarget {
    type Outcome = Target;
    const ACCESS: Access = Access::Definition;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Target, StoreError> {
        tx.lock(&sql::LOCK_GATE).await?;
        for table in &*TABLES {
            if !tx.query(&table.first_page, &[]).await?.is_empty() {
                return Ok(Target::NotEmpty(&table.name));
            }
        }
        self.0.store(tx).await?;
        Ok(Target::Ready)
    }
}

/// Waits for the end of a copy that was given up. Returns whether it was completed nevertheless.
#[derive(Clone, Debug)]
pub struct WasCompleted;

impl UseCase for WasCompleted {
    type Outcome = bool;
    const ACCESS: Access = Access::Definition;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        tx.lock(&sql::LOCK_GATE).await?;
        let closure = gate::closure(tx).await?;
        Ok(closure.is_none_or(|closure| closure.reason != ClosedFor::Unfinished))
    }
}

/// Copies all rows. `run` has closed the gates of both. `say` gets the table and how many of its rows were read.
///
/// # Errors
/// [`StoreError`]. Whether the target is complete nevertheless, [`WasCompleted`] tells.
pub async fn copy(
    source: &Store,
    target: &Store,
    run: &str,
    peer: &str,
    say: &(dyn Fn(&str, u64) + Sync),
) -> Result<Vec<CopiedTable>, StoreError> {
    let (parcels, arriving) = channel(PAGES_MAX);
    let receive = ReceiveRows {
        run: run.to_owned(),
        peer: peer.to_owned(),
        parcels: Mutex::new(Some(arriving)),
    };
    let (sent, received) = tokio::join!(send(source, parcels, say), target.perform(receive));
    // A target that failed has closed the channel, so its error is the cause.
    received?;
    sent
}

/// What the reader hands to the writer.
enum Parcel {
    Rows {
        table: &'static Table,
        rows: Rows,
    },
    /// Everything was read.
    End {
        digests: Vec<TableDigest>,
        dates: Vec<Timestamp>,
    },
}

async fn send(
    source: &Store,
    parcels: Sender<Parcel>,
    say: &(dyn Fn(&str, u64) + Sync),
) -> Result<Vec<CopiedTable>, StoreError> {
    let gone = |_| StoreError::Unavailable("the target takes no more rows".to_owned());
    let mut copied = Vec::new();
    for table in &*TABLES {
        let (mut digest, mut after) = (TableDigest::default(), None);
        loop {
            let rows = source.perform(ReadPage { table, after }).await?;
            let Some(last) = rows.last() else { break };
            after = Some(table.key_of(last));
            digest.add(&rows);
            parcels.send(Parcel::Rows { table, rows }).await.map_err(gone)?;
            say(&table.name, digest.rows);
        }
        copied.push(CopiedTable { table: &table.name, rows: digest.rows, digest });
    }
    let mut dates = Vec::new();
    for version in 1..=newest() {
        dates.push(source.perform(FindMigration { version }).await?);
    }
    let digests = copied.iter().map(|table| table.digest).collect();
    parcels.send(Parcel::End { digests, dates }).await.map_err(gone)?;
    Ok(copied)
}

/// Reads rows in the order of the primary key.
struct ReadPage {
    table: &'static Table,
    /// The key of the row before the first; `None` to begin.
    after: Option<Vec<Value>>,
}

impl UseCase for ReadPage {
    type Outcome = Rows;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Rows, StoreError> {
        page(tx, self.table, self.after.as_deref()).await
    }
}

async fn page(tx: &mut Tx<'_>, table: &Table, after: Option<&[Value]>) -> Result<Rows, StoreError> {
    let rows = match after {
        Some(key) => tx.query(&table.next_page, key).await?,
        None => tx.query(&table.first_page, &[]).await?,
    };
    Ok(rows.into_iter().map(super::value::Row::into_values).collect())
}

/// Stores the rows, compares them with what was read, and opens the gate.
struct ReceiveRows {
    run: String,
    peer: String,
    /// Taken by the one attempt that can be made.
    parcels: Mutex<Option<Receiver<Parcel>>>,
}

impl UseCase for ReceiveRows {
    type Outcome = ();
    const ACCESS: Access = Access::LongTransaction;
    const PASSES_CLOSED_GATE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner).take();
        let interrupted = || StoreError::Unavailable("the copy was interrupted".to_owned());
        let mut parcels = parcels.ok_or_else(interrupted)?;
        if !gate::hold(tx, &self.run).await? {
            let text = "another `jeton db copy` has taken the target over";
            return Err(StoreError::Conflict(text.to_owned()));
        }
        loop {
            match next(tx, &mut parcels).await.ok_or_else(interrupted)? {
                Parcel::Rows { table, rows } => tx.insert_rows(table, rows).await?,
                Parcel::End { digests, dates } => {
                    for (version, date) in (1_i64..).zip(dates) {
                        tx.execute(&sql::DATE_MIGRATION, &[version.into(), date.into()]).await?;
                    }
                    verify(tx, &digests).await?;
                    let rows = digests.iter().map(|digest| digest.rows).sum();
                    let act = Act::new(Deed::DatabaseCopied).on(&self.peer).affecting(rows);
                    tx.record(act).await?;
                    return gate::open(tx, &self.run).await;
                }
            }
        }
    }
}

/// The next parcel. On SQLite the thread that writes waits for it.
async fn next(tx: &mut Tx<'_>, parcels: &mut Receiver<Parcel>) -> Option<Parcel> {
    if tx.has_lists() { parcels.recv().await } else { parcels.blocking_recv() }
}

/// Reads all tables back.
async fn verify(tx: &mut Tx<'_>, digests: &[TableDigest]) -> Result<(), StoreError> {
    for (table, expected) in TABLES.iter().zip(digests) {
        let (mut digest, mut after) = (TableDigest::default(), None);
        loop {
            let rows = page(tx, table, after.as_deref()).await?;
            let Some(last) = rows.last() else { break };
            after = Some(table.key_of(last));
            digest.add(&rows);
        }
        if digest != *expected {
            return Err(StoreError::Corrupt(format!(
                "{} of the target has {} rows with the digest {digest}, not {} with {expected}",
                table.name, digest.rows, expected.rows
            )));
        }
    }
    Ok(())
}

impl Tx<'_> {
    /// Inserts rows of a table: on PostgreSQL by COPY.
    async fn insert_rows(&mut self, table: &Table, rows: Rows) -> Result<(), StoreError> {
        self.statements.inc();
        match &mut self.connection {
            super::EngineConnection::Sqlite(connection) => {
                for row in rows {
                    super::sqlite::execute(connection, &table.insert, &row)?;
                }
                Ok(())
            }
            super::EngineConnection::Postgres(connection) => {
                connection.copy_in(&table.copy, &table.types, &rows).await
            }
        }
    }
}
