//! Copies of a SQLite database, checking its file, and rewriting it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::sqlite::classify;
use super::{Access, Engine, Store, StoreError, Tx, UseCase, sql};

/// How long to wait for a lock of another process.
const BUSY_TIME_MAX: Duration = Duration::from_secs(30);
/// The number of instructions of SQLite's virtual machine between two reports.
const STEPS: i32 = 100_000;

/// Copies a database, in use or not, into an existing empty file, as it is at one moment. The copy is written row by
/// row, so it contains nothing that was replaced or deleted. Others can read and write meanwhile. What they write stays
/// in the write-ahead log until the copy is made. `show` gets the octets copied so far, and roughly how many there are.
///
/// # Errors
/// [`StoreError`] if one of the files cannot be read or written; then the copy is useless.
pub fn copy(
    from: &Path,
    to: &Path,
    mut show: impl FnMut(u64, u64) + Send + 'static,
) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut source = Connection::open_with_flags(from, flags).map_err(classify)?;
    source.busy_timeout(BUSY_TIME_MAX).map_err(classify)?;
    let number = |pragma| {
        let read = source.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        read.map(i64::unsigned_abs).map_err(classify)
    };
    let whole = number("page_count")? * number("page_size")?;
    let target = to.to_owned();
    let report = move || {
        show(target.metadata().map_or(0, |file| file.len()).min(whole), whole);
        false
    };
    source.progress_handler(STEPS, Some(report)).map_err(classify)?;
    let target = to.to_str().ok_or_else(|| {
        StoreError::Unavailable(format!("{} is no UTF-8, as SQLite wants it", to.display()))
    })?;
    source.execute("VACUUM INTO ?1", [target]).map(drop).map_err(classify)
}

/// Reads a whole SQLite database, and returns what is damaged in it, if anything.
#[derive(Debug)]
pub struct CheckIntegrity;

impl UseCase for CheckIntegrity {
    type Outcome = Option<String>;
    const ACCESS: Access = Access::LongTransaction;
    // It only reads.
    const PASSES_CLOSED_GATE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        let rows = tx.query(&sql::CHECK_INTEGRITY, &[]).await?;
        let found: Option<String> =
            rows.first().map(|row| row.get("integrity_check")).transpose()?;
        let found = found.unwrap_or_default();
        Ok((found != "ok").then_some(found))
    }
}

impl Store {
    /// Requests that the file be rewritten when one process alone next opens it, because many rows were replaced and
    /// SQLite may have left copies of the old ones. On SQLite only.
    ///
    /// # Errors
    /// [`StoreError`] if the request cannot be stored.
    pub async fn ask_for_rewrite(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.perform(AskForRewrite).await,
            Engine::Postgres { .. } => Ok(()),
        }
    }
}

struct AskForRewrite;

impl UseCase for AskForRewrite {
    type Outcome = ();
    const ACCESS: Access = Access::Write;
    const PASSES_CLOSED_GATE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.execute(&sql::ASK_FOR_REWRITE, &[]).await.map(drop)
    }
}
