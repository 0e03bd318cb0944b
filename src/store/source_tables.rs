//! Tables of another program's database, which `jeton import` reads. Nothing is written to them.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use futures_util::TryStreamExt;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use super::postgres_url::{Location, UrlError, read_url};
use super::{DatabaseLocation, with_causes};

/// How many rows are read ahead.
const AHEAD: usize = 256;
/// How long the other program may hold its SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a table cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// PostgreSQL refuses, or cannot be reached.
    #[error("PostgreSQL: {}", with_causes(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// SQLite refuses, or the file cannot be read.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row is no JSON object, as no server makes one.
    #[error("a row that is no JSON object")]
    Row(#[from] serde_json::Error),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A row: its values by the names of their columns. Octets are text in hexadecimal after `\x`.
pub type SourceRow = Map<String, Value>;

/// The rows of a table, which a thread of its own reads.
#[derive(Debug)]
pub struct SourceRows {
    first: Option<Result<SourceRow, SourceError>>,
    others: Receiver<Result<SourceRow, SourceError>>,
}

impl SourceRows {
    /// Reads a table: `users`, or `auth.users` in a schema. `None` if there is no such table.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_table(location: &DatabaseLocation, table: &str) -> Result<Option<Self>, SourceError> {
        let (sender, others) = sync_channel(AHEAD);
        let table = quoted(table);
        let thread = std::thread::Builder::new().name("source".to_owned());
        match location {
            DatabaseLocation::Sqlite(path) => {
                let path = path.clone();
                thread.spawn(move || send_outcome(&sender, read_sqlite(&path, &table, &sender)))?;
            }
            DatabaseLocation::Postgres(url) => {
                let url = url.clone();
                thread.spawn(move || {
                    send_outcome(&sender, read_postgres(url.expose(), &table, &sender));
                })?;
            }
        }
        match others.recv() {
            Ok(Err(error)) if is_missing(&error) => Ok(None),
            Ok(Err(error)) => Err(error),
            first => Ok(Some(Self { first: first.ok(), others })),
        }
    }
}

impl Iterator for SourceRows {
    type Item = Result<SourceRow, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.first.take().or_else(|| self.others.recv().ok())
    }
}

/// A name with its schema, as both engines take it.
fn quoted(table: &str) -> String {
    let parts = table.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    parts.collect::<Vec<_>>().join(".")
}

fn is_missing(error: &SourceError) -> bool {
    match error {
        SourceError::Postgres(error) => error.code() == Some(&SqlState::UNDEFINED_TABLE),
        SourceError::Sqlite(error) => error.to_string().contains("no such table"),
        _ => false,
    }
}

/// Whoever has stopped reading needs no error.
fn send_outcome(
    sender: &SyncSender<Result<SourceRow, SourceError>>,
    outcome: Result<(), SourceError>,
) {
    if let Err(error) = outcome {
        sender.send(Err(error)).ok();
    }
}

fn read_sqlite(
    path: &Path,
    table: &str,
    sender: &SyncSender<Result<SourceRow, SourceError>>,
) -> Result<(), SourceError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let statement = include_str!("../../sql/templates/source_table_sqlite.sql");
    let mut statement = connection.prepare(&statement.replace("{table}", table))?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut values = SourceRow::new();
        for (column, name) in names.iter().enumerate() {
            values.insert(name.clone(), json_of(row.get_ref(column)?));
        }
        if sender.send(Ok(values)).is_err() {
            break;
        }
    }
    Ok(())
}

fn json_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(octets) => octets
            .iter()
            .fold("\\x".to_owned(), |text, octet| text + &format!("{octet:02x}"))
            .into(),
    }
}

fn read_postgres(
    url: &str,
    table: &str,
    sender: &SyncSender<Result<SourceRow, SourceError>>,
) -> Result<(), SourceError> {
    let Location { config, tls, .. } = read_url(url)?;
    let statement = include_str!("../../sql/templates/source_table_postgres.sql");
    let statement = statement.replace("{table}", table);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = config.connect(tls).await?;
        let connection = tokio::spawn(connection);
        // Without a prepared statement, so that any pooler will do.
        let rows = client.simple_query_raw(&statement).await?;
        let mut rows = std::pin::pin!(rows);
        while let Some(message) = rows.try_next().await? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let values = serde_json::from_str(row.get(0).unwrap_or_default())?;
            if sender.send(Ok(values)).is_err() {
                break;
            }
        }
        connection.abort();
        Ok(())
    })
}

/// The SQLite file at a path, if it is one.
///
/// # Errors
/// It cannot be read.
pub fn sqlite_file(path: &Path) -> std::io::Result<Option<PathBuf>> {
    use std::io::Read;

    let mut begin = Vec::new();
    std::fs::File::open(path)?.take(16).read_to_end(&mut begin)?;
    Ok((begin == b"SQLite format 3\0").then(|| path.to_owned()))
}
