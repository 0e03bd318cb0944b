//! Copies of a SQLite database.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::sqlite::{classify, run_script};
use super::{Access, StoreError, Tx, UseCase, sql};

/// How many pages of 4 KiB are copied between two reports.
const STEP: i32 = 1_024;
/// How long to wait for whoever locks the database.
const BUSY_TIME_MAX: Duration = Duration::from_secs(30);

/// Copies a database, in use or not, into a file that is there and empty, as it is at one moment.
/// Others read and write meanwhile; what they write is in the write-ahead log until the copy is made.
/// `show` is told how many octets were copied, and of how many.
///
/// # Errors
/// [`StoreError`] if one of the files cannot be read or written; the copy is of no use then.
pub fn copy(from: &Path, to: &Path, mut show: impl FnMut(u64, u64)) -> Result<(), StoreError> {
    let mut source = open(from)?;
    let mut target = open(to)?;
    // It is of no use before it is whole, and then it is flushed to the disk at once.
    run_script(&mut target, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    // The moment. Without a transaction that lasts, each step would begin anew after a change.
    run_script(&mut source, "BEGIN; PRAGMA schema_version")?;
    let page: u64 = source
        .query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))
        .map_err(classify)?
        .unsigned_abs();
    let backup = Backup::new(&source, &mut target).map_err(classify)?;
    let latest = Instant::now() + BUSY_TIME_MAX;
    loop {
        let step = backup.step(STEP).map_err(classify)?;
        let progress = backup.progress();
        let octets = |pages: i32| u64::from(pages.unsigned_abs()) * page;
        show(octets(progress.pagecount - progress.remaining), octets(progress.pagecount));
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ if Instant::now() < latest => std::thread::yield_now(),
            _ => return Err(StoreError::Unavailable("another process locks it".to_owned())),
        }
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(classify)?;
    connection.busy_timeout(BUSY_TIME_MAX).map_err(classify)?;
    Ok(connection)
}

/// Reads all of a SQLite database, and returns what is damaged in it, if anything is.
#[derive(Debug)]
pub(crate) struct CheckIntegrity;

impl UseCase for CheckIntegrity {
    type Outcome = Option<String>;

    fn access(&self) -> Access {
        Access::LongTransaction
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        let rows = tx.query(&sql::CHECK_INTEGRITY, &[]).await?;
        let found = rows.first().map(|row| row.text(0)).transpose()?.unwrap_or_default();
        Ok((found != "ok").then_some(found))
    }
}
