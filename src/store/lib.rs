//! Everything that is stored, in one set of use cases for two engines.
//!
//! A use case is a struct whose fields are its parameters. [`Store::perform`] runs it in one transaction and returns
//! its outcome after the commit. Each is written once, with [`Tx`]; the engines only run statements. The SQL is in
//! `sql/`.
//!
//! This package must never know what a row means for a request, keys in the clear, or HTTP.

pub mod backup;
pub mod client_import;
pub mod clients;
pub mod clock;
pub mod copy;
pub mod data_keys;
mod error;
pub mod gate;
pub mod import;
pub mod keys;
mod location;
mod look_up;
pub mod migration;
pub mod operator_acts;
mod postgres;
mod postgres_url;
mod refresh;
pub mod renaming;
pub mod replicas;
mod rights;
pub mod second_factors;
pub mod secret_hashes;
#[cfg(test)]
mod sent;
pub mod sessions;
mod sharing;
pub mod source_tables;
mod sql;
mod sqlite;
pub mod throttle;
mod user_list;
pub mod users;
mod value;
mod write_check;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;

use clients::{FindClient, StoredClient};
use clock::ReadDatabaseClock;
use error::with_causes;
pub use error::{OpenError, OpenProblem, StoreError};
use jeton_oauth::{ClientId, SessionId};
use jeton_runtime::availability::Availability;
pub use location::DatabaseLocation;
use look_up::LookUp;
use operator_acts::Operator;
use postgres::Postgres;
pub use postgres_url::UrlError;
pub use refresh::RefreshSession;
use sessions::{FindSession, StoredSession};
use sharing::Shared;
use sql::{LookUpStatement, Statement, WIDTH};
use sqlite::Sqlite;
use value::{Row, Value};

/// What a use case does to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads, in one statement.
    Read,
    /// Writes, in one statement.
    Write,
    /// Writes, in several statements that take effect together or not at all.
    Transaction,
    /// The same without a time limit: nobody waits for an answer.
    LongTransaction,
    /// Changes a table, in one statement that is a transaction, without a time limit. If others use the table, it waits
    /// for them only a moment at a time, since later ones queue behind it.
    Definition,
    /// Runs one statement, without a time limit, that PostgreSQL does not run in a transaction.
    Statement,
}

impl Access {
    /// Whether it changes rows, and so passes the [`gate`].
    fn is_gated(self) -> bool {
        matches!(self, Self::Write | Self::Transaction | Self::LongTransaction)
    }

    /// How long its caller waits for the outcome, on either engine.
    fn patience(self) -> Duration {
        match self {
            Self::Read | Self::Write | Self::Transaction => Duration::from_secs(5),
            Self::LongTransaction => Duration::from_hours(24),
            Self::Definition | Self::Statement => Duration::MAX,
        }
    }
}

/// A transaction on the database.
pub trait UseCase: Send + Sync + 'static {
    /// What it returns after the commit.
    type Outcome: Send + 'static;

    /// What it does to the database.
    const ACCESS: Access;

    /// The same, if it depends on the parameters.
    fn access(&self) -> Access {
        Self::ACCESS
    }

    /// Whether it writes although the [`gate`] is closed. Only what opens and closes it, what it is closed for, and what
    /// makes its table does.
    const PASSES_CLOSED_GATE: bool = false;

    /// The row that it changes first, if others may want to change it too. On PostgreSQL they take turns.
    fn contended_row(&self) -> Option<String> {
        None
    }

    /// Runs the statements. It is called again if the database asks for another attempt.
    fn run(
        &self,
        tx: &mut Tx<'_>,
    ) -> impl Future<Output = Result<Self::Outcome, StoreError>> + Send;
}

/// Runs the statements of one use case.
pub struct Tx<'a> {
    connection: EngineConnection<'a>,
    statements: &'a Counter,
    /// Whose acts are recorded.
    operator: Option<&'a Operator>,
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

    /// Finds rows by keys, which are texts: on PostgreSQL in one statement, on SQLite in one for each [`WIDTH`] keys.
    async fn look_up(
        &mut self,
        statement: &LookUpStatement,
        keys: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        if self.has_lists() {
            return self.query(&statement.one, &[Value::texts(keys)]).await;
        }
        if let [key] = &keys[..] {
            return self.query(&statement.one, std::slice::from_ref(key)).await;
        }
        let mut rows = Vec::new();
        for keys in keys.chunks(WIDTH) {
            let mut keys = keys.to_vec();
            // The last key fills the remaining parameters, and finds nothing more.
            keys.extend(keys.last().cloned().into_iter().cycle().take(WIDTH - keys.len()));
            rows.extend(self.query(&statement.many, &keys).await?);
        }
        Ok(rows)
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

    /// Whether parameters may be lists.
    fn has_lists(&self) -> bool {
        matches!(self.connection, EngineConnection::Postgres(_))
    }

    /// Locks something until the end of the transaction. SQLite has one writer at a time, so it needs no lock.
    async fn lock(&mut self, statement: &Statement) -> Result<(), StoreError> {
        match &self.connection {
            EngineConnection::Sqlite(_) => Ok(()),
            EngineConnection::Postgres(_) => self.execute(statement, &[]).await.map(drop),
        }
    }

    /// Runs a statement without parameters or time limit. PostgreSQL is asked to cancel it when `stop` becomes true.
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

/// Waits until `stop` is true, forever if its sender is gone.
async fn stopped(stop: &Stop) {
    if stop.clone().wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How busy the connections to the database are.
#[derive(Clone, Copy, Debug)]
pub struct PoolUse {
    /// How many use cases can run at once.
    pub capacity: usize,
    /// How many run.
    pub in_use: usize,
    /// How many wait for their turn.
    pub waiting: usize,
}

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Engine,
    statements: Counter,
    given_up: Counter,
    /// Is told whenever the database cannot be reached.
    availability: Option<Availability>,
}

#[derive(Clone, Debug)]
enum Engine {
    Sqlite(Sqlite),
    Postgres(Box<SharedPostgres>),
}

/// PostgreSQL, with the requests that share statements.
#[derive(Clone, Debug)]
struct SharedPostgres {
    postgres: Postgres,
    clients: Shared<FindClient>,
    sessions: Shared<FindSession>,
    refreshes: Shared<RefreshSession>,
}

impl Store {
    /// Opens the database without reading its tables.
    ///
    /// # Errors
    /// [`OpenError`], a sentence that names the setting and what to do.
    pub async fn open(location: &DatabaseLocation) -> Result<Self, OpenError> {
        let (statements, given_up) = (Counter::default(), Counter::default());
        let opened = match location {
            DatabaseLocation::Sqlite(path) => {
                Sqlite::open(path, statements.clone()).map(Engine::Sqlite)
            }
            DatabaseLocation::Postgres(url) => {
                let opened = Postgres::open(url.expose(), statements.clone(), given_up.clone());
                opened.await.map(|postgres| {
                    let (clients, sessions) = (Shared::default(), Shared::default());
                    let refreshes = Shared::default();
                    let shared = SharedPostgres { postgres, clients, sessions, refreshes };
                    Engine::Postgres(Box::new(shared))
                })
            }
        };
        let opened = opened.map(|engine| Self { engine, statements, given_up, availability: None });
        opened.map_err(|source| OpenError { location: location.to_string(), source })
    }

    /// The same database, which reports to `availability` whenever it cannot be reached.
    #[must_use]
    pub fn telling(self, availability: Availability) -> Self {
        Self { availability: Some(availability), ..self }
    }

    /// Reports a database that cannot be reached.
    fn noted<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(StoreError::Unavailable(_)), Some(availability)) =
            (&outcome, &self.availability)
        {
            availability.database_failed();
        }
        outcome
    }

    /// Runs a use case in one transaction. If this future is dropped early, whatever can still be cancelled is.
    ///
    /// # Errors
    /// [`StoreError`]. It says what is known about the outcome.
    pub async fn perform<U: UseCase>(&self, use_case: U) -> Result<U::Outcome, StoreError> {
        self.noted(match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.perform(use_case).await,
            Engine::Postgres(shared) => shared.postgres.perform(use_case).await,
        })
    }

    /// Finds a client with its secrets, as they are now.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn find_client(&self, id: ClientId) -> Result<Option<StoredClient>, StoreError> {
        let client = FindClient { id };
        self.noted(match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.perform(FindOne(client)).await,
            Engine::Postgres(shared) => shared.clients.ask(client, &shared.postgres).await,
        })
    }

    /// Finds a session as it is now.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn find_session(&self, id: SessionId) -> Result<Option<StoredSession>, StoreError> {
        let session = FindSession { id };
        self.noted(match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.perform(FindOne(session)).await,
            Engine::Postgres(shared) => shared.sessions.ask(session, &shared.postgres).await,
        })
    }

    /// Finds both in one step, as they are now. An error of one does not affect the other.
    pub async fn find_client_and_session(
        &self,
        client: ClientId,
        session: SessionId,
    ) -> (Result<Option<StoredClient>, StoreError>, Result<Option<StoredSession>, StoreError>) {
        let (client, session) = (FindClient { id: client }, FindSession { id: session });
        let (client, session) = match &self.engine {
            Engine::Sqlite(sqlite) => match sqlite.perform(FindBoth(client, session)).await {
                Ok((client, session)) => (Ok(client), session),
                Err(error) => (Err(error.clone()), Err(error)),
            },
            Engine::Postgres(shared) => {
                let SharedPostgres { postgres, clients, sessions, .. } = &**shared;
                tokio::join!(clients.ask(client, postgres), sessions.ask(session, postgres))
            }
        };
        (self.noted(client), self.noted(session))
    }

    /// Refreshes a session. `false`, and nothing changed, if it is no longer as it was read.
    ///
    /// # Errors
    /// [`StoreError`]. It says what is known about the outcome.
    pub async fn refresh_session(&self, refresh: RefreshSession) -> Result<bool, StoreError> {
        self.noted(match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.perform(refresh).await,
            Engine::Postgres(shared) => {
                refresh::refresh(refresh, &shared.refreshes, &shared.postgres).await
            }
        })
    }

    /// How long a process must pause between writes so that others can write. On SQLite only one process writes at a
    /// time, and the others poll, at least every 0.1 s.
    #[must_use]
    pub fn pause_beside(&self) -> Duration {
        let has_one_writer = matches!(self.engine, Engine::Sqlite(_));
        if has_one_writer { Duration::from_millis(110) } else { Duration::ZERO }
    }

    /// Whether the database has a clock other than this machine's.
    #[must_use]
    pub fn has_clock(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Reads the database server's clock, in milliseconds since the Unix epoch. `None` on SQLite, which has no server.
    ///
    /// # Errors
    /// [`StoreError`] if it does not answer.
    pub async fn database_clock(&self) -> Result<Option<i64>, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(shared) => shared.postgres.perform(ReadDatabaseClock).await.map(Some),
        }
    }

    /// The absolute path of the database, if opening it created its file.
    #[must_use]
    pub fn new_file(&self) -> Option<&Path> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.new_file(),
            Engine::Postgres(_) => None,
        }
    }

    /// Takes no more work, finishes what waits, and on SQLite leaves a single file, within 5 seconds. Dropping the last
    /// clone does the same, and blocks meanwhile.
    pub async fn close(&self) {
        if let Engine::Sqlite(sqlite) = &self.engine {
            let sqlite = sqlite.clone();
            tokio::task::spawn_blocking(move || sqlite.close()).await.ok();
        }
    }

    /// Counts statements, except those that only begin or end a transaction.
    #[must_use]
    pub fn statements(&self) -> &Counter {
        &self.statements
    }

    /// Counts the requests that were given up before the database had answered. On PostgreSQL only.
    #[must_use]
    pub fn given_up(&self) -> &Counter {
        &self.given_up
    }

    /// How busy the way to the database is.
    #[must_use]
    pub fn pool_use(&self) -> PoolUse {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.pool_use(),
            Engine::Postgres(shared) => shared.postgres.pool_use(),
        }
    }
}

/// Finds two things, each in a statement of its own.
struct FindBoth<A, B>(A, B);

impl<A: LookUp, B: LookUp> UseCase for FindBoth<A, B> {
    /// The second is a result of its own, since its row may be unreadable.
    type Outcome = (Option<A::Found>, Result<Option<B::Found>, StoreError>);
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        let first = look_up::find(tx, &self.0).await?;
        match look_up::find(tx, &self.1).await {
            unreadable @ Err(StoreError::Corrupt(_)) => Ok((first, unreadable)),
            second => Ok((first, Ok(second?))),
        }
    }
}

struct FindOne<L>(L);

impl<L: LookUp> UseCase for FindOne<L> {
    type Outcome = Option<L::Found>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<L::Found>, StoreError> {
        look_up::find(tx, &self.0).await
    }
}
