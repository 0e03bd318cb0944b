//! The shared engine: PostgreSQL, or what speaks its protocol.
//!
//! Statements are sent with the types of their parameters and without a name, so that a connection
//! holds no state between use cases and a pooler in transaction mode may stand in between. Where
//! none does, `statements=prepared` in the URL has the server plan each of them once a connection.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use postgres_openssl::MakeTlsConnector;
use prometheus_client::metrics::counter::Counter;
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::postgres_url::{Location, read_url};
use super::sql::Statement;
use super::value::{Row, Value};
use super::{Access, PoolUse, Stop, StoreError, Tx, UseCase, stopped, with_causes};

/// The most connections of one replica.
const CONNECTIONS_MAX: usize = 16;
/// How long to wait for a connection, whether from the pool or a new one.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a use case may take before its connection is given up.
const USE_CASE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one may that nobody waits for.
const LONG_USE_CASE_TIMEOUT: Duration = Duration::from_hours(24);
/// What a definition begins with: it waits this long for others who use the table, with everybody who comes
/// later behind it.
const DEFINITION_LIMITS: &str = "SET LOCAL lock_timeout = '1s'";
/// How long those go first before the definition is tried again.
const DEFINITION_PAUSE: Duration = Duration::from_secs(1);
/// How often a use case is tried when the database says that it met another one.
const ATTEMPTS_MAX: usize = 4;

/// A pool of connections.
#[derive(Clone)]
pub(super) struct Postgres {
    pool: Pool,
    tls: MakeTlsConnector,
    prepares: bool,
    statements: Counter,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Postgres").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Postgres {
    pub(super) async fn open(url: &str, statements: Counter) -> Result<Self, String> {
        let Location { config, tls, prepares } = read_url(url)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, tls.clone(), recycling);
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS_MAX)
            .wait_timeout(Some(CONNECTION_TIMEOUT))
            .create_timeout(Some(CONNECTION_TIMEOUT))
            .recycle_timeout(Some(CONNECTION_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| error.to_string())?;
        let postgres = Self { pool, tls, prepares, statements };
        // A wrong address or password shows now, not at the first login.
        let first = postgres.connection().await.map_err(|error| match error {
            StoreError::Unavailable(detail) => format!(
                "{detail}; check host, port, user, password and sslmode, and that the server runs"
            ),
            other => other.to_string(),
        })?;
        drop(first);
        Ok(postgres)
    }

    pub(super) async fn perform<U: UseCase>(&self, use_case: U) -> Result<U::Outcome, StoreError> {
        let mut attempt = 1;
        loop {
            match self.attempt(&use_case).await {
                Err(Failure::Collision(_)) if use_case.access() == Access::Definition => {
                    sleep(DEFINITION_PAUSE).await;
                }
                Err(Failure::Collision(_)) if attempt < ATTEMPTS_MAX => attempt += 1,
                Err(Failure::Collision(detail)) => return Err(StoreError::Unavailable(detail)),
                Err(Failure::Final(error)) => return Err(error),
                Ok(outcome) => return Ok(outcome),
            }
        }
    }

    async fn attempt<U: UseCase>(&self, use_case: &U) -> Result<U::Outcome, Failure> {
        let patience = match use_case.access() {
            Access::Read | Access::Write | Access::Transaction => USE_CASE_TIMEOUT,
            Access::LongTransaction => LONG_USE_CASE_TIMEOUT,
            Access::Definition | Access::Statement => Duration::MAX,
        };
        let connection = self.connection().await?;
        if let Ok(outcome) = timeout(patience, self.run(&connection, use_case)).await {
            return outcome;
        }
        // What the server is doing is unknown: this connection is not used again.
        drop(Object::take(connection.object));
        let detail = "the database did not answer in time".to_owned();
        Err(Failure::Final(StoreError::Unavailable(detail)))
    }

    async fn run<U: UseCase>(
        &self,
        connection: &Connection,
        use_case: &U,
    ) -> Result<U::Outcome, Failure> {
        let (connection, statements) =
            (super::EngineConnection::Postgres(connection), &self.statements);
        let mut tx = Tx { connection, statements };
        if matches!(use_case.access(), Access::Read | Access::Write | Access::Statement) {
            // One statement is a transaction of its own.
            return Ok(use_case.run(&mut tx).await?);
        }
        tx.run_script("BEGIN").await?;
        let limited = match use_case.access() {
            Access::Definition => tx.run_script(DEFINITION_LIMITS).await,
            _ => Ok(()),
        };
        let outcome = match limited {
            Ok(()) => use_case.run(&mut tx).await,
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(_) => tx.run_script("COMMIT").await?,
            // If even this fails the connection is closed, and the server rolls back by itself.
            Err(_) => tx.run_script("ROLLBACK").await.unwrap_or_default(),
        }
        Ok(outcome?)
    }

    async fn connection(&self) -> Result<Connection, StoreError> {
        let object = self.pool.get().await.map_err(|error| {
            StoreError::Unavailable(match error {
                PoolError::Backend(error) => describe(&error),
                PoolError::Timeout(_) => "no connection in time".to_owned(),
                other => other.to_string(),
            })
        })?;
        Ok(Connection { object, tls: self.tls.clone(), prepares: self.prepares })
    }

    pub(super) fn pool_use(&self) -> PoolUse {
        let status = self.pool.status();
        PoolUse {
            capacity: status.max_size,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }
}

/// Why an attempt failed.
enum Failure {
    /// It met another transaction and may succeed the next time.
    Collision(String),
    Final(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(detail) if detail.starts_with(COLLISION) => Self::Collision(detail),
            other => Self::Final(other),
        }
    }
}

/// Marks a collision on its way through a use case, which passes errors on as they are.
const COLLISION: &str = "collision: ";

/// A connection, and how it is to be spoken to.
pub(crate) struct Connection {
    object: Object,
    tls: MakeTlsConnector,
    prepares: bool,
}

impl Connection {
    pub(super) async fn query(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let rows = match self.prepare(statement, values).await? {
            Some(prepared) => self.object.query(&prepared, &untyped(values)).await,
            None => self.object.query_typed(&statement.postgres, &typed(values)).await,
        };
        rows.map_err(|error| classify(&error))?
            .iter()
            .map(|row| {
                let mistyped = |error| StoreError::Corrupt(describe(&error));
                let column = |index| row.try_get(index).map_err(mistyped);
                (0..row.len()).map(column).collect::<Result<Vec<Value>, _>>().map(Row)
            })
            .collect()
    }

    pub(super) async fn execute(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        let changed = match self.prepare(statement, values).await? {
            Some(prepared) => self.object.execute(&prepared, &untyped(values)).await,
            None => self.object.execute_typed(&statement.postgres, &typed(values)).await,
        };
        changed.map_err(|error| classify(&error))
    }

    pub(super) async fn run_script(&self, script: &str) -> Result<(), StoreError> {
        self.object.batch_execute(script).await.map_err(|error| classify(&error))
    }

    /// Runs a statement, and has the server cancel it when `stop` becomes true.
    pub(super) async fn run_until(&self, stop: &Stop, statement: &str) -> Result<(), StoreError> {
        let mut running = pin!(self.object.batch_execute(statement));
        let done = tokio::select! {
            done = &mut running => done,
            () = stopped(stop) => {
                // If the server cannot be asked, it ends the statement by itself, sooner or later.
                self.object.cancel_token().cancel_query(self.tls.clone()).await.ok();
                running.await
            }
        };
        done.map_err(|error| classify(&error))
    }

    /// The statement as this connection prepared it once, if it may keep statements.
    async fn prepare(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Option<tokio_postgres::Statement>, StoreError> {
        if !self.prepares {
            return Ok(None);
        }
        let types: Vec<Type> = values.iter().map(Value::postgres_type).collect();
        let prepared = self.object.prepare_typed_cached(&statement.postgres, &types).await;
        prepared.map(Some).map_err(|error| classify(&error))
    }
}

fn untyped(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn typed(values: &[Value]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    values.iter().map(|value| (value as &(dyn ToSql + Sync), value.postgres_type())).collect()
}

impl Value {
    fn postgres_type(&self) -> Type {
        match self {
            // The server works out the type of a null from where it stands.
            Self::Null => Type::UNKNOWN,
            Self::Integer(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
            Self::Octets(_) => Type::BYTEA,
        }
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        of_type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql(of_type, out),
            Self::Text(text) => text.to_sql(of_type, out),
            Self::Octets(octets) => octets.to_sql(of_type, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(of_type: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match *of_type {
            Type::INT8 => i64::from_sql(of_type, raw).map(Self::Integer),
            Type::BYTEA => <&[u8]>::from_sql(of_type, raw).map(Self::from),
            _ => <&str>::from_sql(of_type, raw).map(Self::from),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(of_type: &Type) -> bool {
        matches!(*of_type, Type::INT8 | Type::BYTEA | Type::TEXT | Type::VARCHAR)
    }
}

/// Sorts an error by what its reader can do about it.
fn classify(error: &tokio_postgres::Error) -> StoreError {
    let detail = describe(error);
    let Some(state) = error.code() else { return StoreError::Unavailable(detail) };
    if matches!(
        *state,
        SqlState::T_R_SERIALIZATION_FAILURE
            | SqlState::T_R_DEADLOCK_DETECTED
            | SqlState::LOCK_NOT_AVAILABLE
    ) {
        return StoreError::Refused(format!("{COLLISION}{detail}"));
    }
    // Connection trouble, a server out of resources or going down, a cancelled statement, and a
    // standby that only reads.
    let passes = ["08", "53", "57", "58"].iter().any(|class| state.code().starts_with(class));
    if passes || *state == SqlState::READ_ONLY_SQL_TRANSACTION {
        return StoreError::Unavailable(detail);
    }
    match *state {
        SqlState::UNDEFINED_TABLE => StoreError::NoTable(detail),
        SqlState::INSUFFICIENT_PRIVILEGE => StoreError::Forbidden(detail),
        _ => StoreError::Refused(detail),
    }
}

/// The message of the server, or the chain of causes of a failure before it.
fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!("{} ({})", answer.message(), answer.code().code());
    }
    with_causes(error)
}
