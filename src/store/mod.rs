//! Floor 2: everything that is stored, on two engines behind one set of use cases.
//!
//! A use case is a struct whose fields are its parameters; `Store::perform` runs it in one
//! transaction and returns an outcome after it was committed. Each is written once, against
//! `Tx`, and the two engines only know how to run a statement. SQL stands in `sql/`.

pub mod backup;
pub mod clients;
pub mod clock;
pub mod import;
pub mod keys;
mod look_up;
pub mod migration;
mod postgres;
mod postgres_url;
pub mod replicas;
mod rights;
pub mod sessions;
mod sql;
mod sqlite;
pub mod throttle;
pub mod users;
mod value;
mod write_check;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;

use crate::availability::Availability;
use crate::config::DatabaseLocation;
use crate::oauth::{ClientId, SessionId};
use clients::{FindClient, StoredClient};
use clock::ReadDatabaseClock;
use look_up::{LookUp, LookUpAll, Shared};
use postgres::Postgres;
pub use postgres_url::SYSTEM_ROOTS;
use sessions::{FindSession, StoredSession};
use sql::Statement;
use sqlite::Sqlite;
use value::{Row, Value};

/// Why a use case has no outcome. In general nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The database cannot be reached or is too busy: later is better. If it did not answer a commit, as the
    /// text says then, it is not known whether it is done.
    Unavailable(String),
    /// A row is not what this version writes.
    Corrupt(String),
    /// The database refused a statement.
    Refused(String),
    /// A table is not there.
    NoTable(String),
    /// The role of the connection may not do this.
    Forbidden(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(detail) => write!(formatter, "the database is unavailable: {detail}"),
            Self::Corrupt(detail) => write!(formatter, "a row cannot be understood: {detail}"),
            Self::Refused(detail) | Self::NoTable(detail) | Self::Forbidden(detail) => {
                write!(formatter, "the database refused: {detail}")
            }
        }
    }
}

/// An error with its causes: drivers say in them what the error itself leaves out.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What a use case does to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only reads, in one statement.
    Read,
    /// Writes, in one statement.
    Write,
    /// Writes, in several statements that all take effect or none.
    Transaction,
    /// The same, and it may take as long as it takes: nobody waits for an answer.
    LongTransaction,
    /// Changes a table, in one statement that is a transaction. It may take as long as it takes; but
    /// where others use the table it waits for them only a moment at a time, because who comes later
    /// waits behind it.
    Definition,
    /// Does something for as long as it takes, in one statement that PostgreSQL runs in no transaction.
    Statement,
}

impl Access {
    /// How long its caller waits for the outcome, on either engine.
    fn patience(self) -> Duration {
        match self {
            Self::Read | Self::Write | Self::Transaction => Duration::from_secs(5),
            Self::LongTransaction => Duration::from_hours(24),
            Self::Definition | Self::Statement => Duration::MAX,
        }
    }
}

/// Something to be done with the database, whole or not at all.
pub(crate) trait UseCase: Send + Sync + 'static {
    /// What came of it.
    type Outcome: Send + 'static;

    /// What it does to the database.
    fn access(&self) -> Access;

    /// The row that it changes first, where others may want to change the same. On PostgreSQL they take turns.
    fn contended_row(&self) -> Option<String> {
        None
    }

    /// Does it. It may be done again from the start if the database asks for that.
    fn run(
        &self,
        tx: &mut Tx<'_>,
    ) -> impl Future<Output = Result<Self::Outcome, StoreError>> + Send;
}

/// Runs the statements of one use case.
pub(crate) struct Tx<'a> {
    connection: EngineConnection<'a>,
    statements: &'a Counter,
}

enum EngineConnection<'a> {
    Sqlite(&'a mut rusqlite::Connection),
    Postgres(&'a mut postgres::Lease),
}

impl Tx<'_> {
    /// Runs a statement and returns its rows.
    async fn query(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        self.statements.inc();
        match &mut self.connection {
            EngineConnection::Sqlite(connection) => sqlite::query(connection, statement, values),
            EngineConnection::Postgres(connection) => connection.query(statement, values).await,
        }
    }

    /// Runs a statement and returns how many rows it changed.
    async fn execute(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        self.statements.inc();
        match &mut self.connection {
            EngineConnection::Sqlite(connection) => sqlite::execute(connection, statement, values),
            EngineConnection::Postgres(connection) => connection.execute(statement, values).await,
        }
    }

    /// Locks a table until the end of the transaction. SQLite has one writer at a time, so nothing is to be locked.
    async fn lock(&mut self, statement: &Statement) -> Result<(), StoreError> {
        match &self.connection {
            EngineConnection::Sqlite(_) => Ok(()),
            EngineConnection::Postgres(_) => self.execute(statement, &[]).await.map(drop),
        }
    }

    /// Runs a statement without parameters, for as long as it takes. PostgreSQL is asked to cancel it
    /// when `stop` becomes true.
    async fn run_until(&mut self, stop: &Stop, statement: &Statement) -> Result<(), StoreError> {
        self.statements.inc();
        match &mut self.connection {
            EngineConnection::Sqlite(connection) => {
                sqlite::run_script(connection, &statement.sqlite)
            }
            EngineConnection::Postgres(connection) => {
                connection.run_until(stop, &statement.postgres).await
            }
        }
    }
}

/// Becomes true when the process is told to stop.
pub type Stop = watch::Receiver<bool>;

/// Waits until `stop` is true; for ever if nobody is left who could say so.
async fn stopped(stop: &Stop) {
    if stop.clone().wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How busy the way to the database is.
#[derive(Clone, Copy, Debug)]
pub struct PoolUse {
    /// The most that can be under way at once.
    pub capacity: usize,
    /// What is under way.
    pub in_use: usize,
    /// What waits for its turn.
    pub waiting: usize,
}

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Engine,
    statements: Counter,
    given_up: Counter,
    /// Who is told that the database could not be reached.
    availability: Option<Availability>,
}

#[derive(Clone, Debug)]
enum Engine {
    Sqlite(Sqlite),
    Postgres { postgres: Postgres, clients: Shared<FindClient>, sessions: Shared<FindSession> },
}

impl Store {
    /// Opens the database, without looking at its tables.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub async fn open(location: &DatabaseLocation) -> Result<Self, String> {
        let (statements, given_up) = (Counter::default(), Counter::default());
        let opened = match location {
            DatabaseLocation::Sqlite(path) => {
                Sqlite::open(path, statements.clone()).map(Engine::Sqlite)
            }
            DatabaseLocation::Postgres(url) => {
                let (clients, sessions) = (Shared::default(), Shared::default());
                let opened = Postgres::open(url.expose(), statements.clone(), given_up.clone());
                opened.await.map(|postgres| Engine::Postgres { postgres, clients, sessions })
            }
        };
        let opened = opened.map(|engine| Self { engine, statements, given_up, availability: None });
        opened.map_err(|problem| {
            format!("cannot open the database {location} (--database): {problem}")
        })
    }

    /// The same database; whenever it cannot be reached, this is told.
    #[must_use]
    pub fn telling(self, availability: Availability) -> Self {
        Self { availability: Some(availability), ..self }
    }

    /// Tells of a database that could not be reached.
    fn noted<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(StoreError::Unavailable(_)), Some(availability)) =
            (&outcome, &self.availability)
        {
            availability.database_failed();
        }
        outcome
    }

    /// Does something with the database, in one transaction. If this is dropped before it has ended,
    /// whatever can still be called off is.
    ///
    /// # Errors
    /// [`StoreError`], which says what is known then.
    pub(crate) async fn perform<U: UseCase>(&self, use_case: U) -> Result<U::Outcome, StoreError> {
        self.noted(match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.perform(use_case).await,
            Engine::Postgres { postgres, .. } => postgres.perform(use_case).await,
        })
    }

    /// Finds a client and its secrets, as they are now.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot tell.
    pub(crate) async fn find_client(
        &self,
        id: ClientId,
    ) -> Result<Option<StoredClient>, StoreError> {
        let look_up = FindClient { id };
        self.noted(match &self.engine {
            Engine::Sqlite(sqlite) => find_alone(sqlite, look_up).await,
            Engine::Postgres { postgres, clients, .. } => clients.find(look_up, postgres).await,
        })
    }

    /// Finds a session, as it is now.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot tell.
    pub(crate) async fn find_session(
        &self,
        id: SessionId,
    ) -> Result<Option<StoredSession>, StoreError> {
        let look_up = FindSession { id };
        self.noted(match &self.engine {
            Engine::Sqlite(sqlite) => find_alone(sqlite, look_up).await,
            Engine::Postgres { postgres, sessions, .. } => sessions.find(look_up, postgres).await,
        })
    }

    /// Whether the database has a clock that is not the one of this process.
    #[must_use]
    pub(crate) fn has_clock(&self) -> bool {
        matches!(self.engine, Engine::Postgres { .. })
    }

    /// Reads the clock of the database's machine, in milliseconds since the epoch; `None` where the
    /// database has no clock but that of this process.
    ///
    /// # Errors
    /// [`StoreError`] if it does not answer.
    pub(crate) async fn database_clock(&self) -> Result<Option<i64>, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres { postgres, .. } => {
                postgres.perform(ReadDatabaseClock).await.map(Some)
            }
        }
    }

    /// The file of the database, from the root on, if opening it made a new and empty one.
    #[must_use]
    pub fn new_file(&self) -> Option<&Path> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.new_file(),
            Engine::Postgres { .. } => None,
        }
    }

    /// Takes no more work, finishes what waits, and on SQLite leaves one whole file: for 5 seconds at
    /// most. Whoever drops the last clone does the same, and blocks meanwhile.
    pub async fn close(&self) {
        if let Engine::Sqlite(sqlite) = &self.engine {
            let sqlite = sqlite.clone();
            tokio::task::spawn_blocking(move || sqlite.close()).await.ok();
        }
    }

    /// Counts the statements that are run, but for those that only begin or end a transaction.
    #[must_use]
    pub fn statements(&self) -> &Counter {
        &self.statements
    }

    /// Counts what was given up before the database had answered. On PostgreSQL only.
    #[must_use]
    pub fn given_up(&self) -> &Counter {
        &self.given_up
    }

    /// How busy the way to the database is.
    #[must_use]
    pub fn pool_use(&self) -> PoolUse {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.pool_use(),
            Engine::Postgres { postgres, .. } => postgres.pool_use(),
        }
    }
}

async fn find_alone<L: LookUp>(
    sqlite: &Sqlite,
    look_up: L,
) -> Result<Option<L::Found>, StoreError> {
    Ok(sqlite.perform(LookUpAll(vec![look_up])).await?.pop())
}
