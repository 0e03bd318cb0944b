//! PostgreSQL, or a server that speaks its protocol.
//!
//! Statements are sent unnamed, with the types of their parameters. So a connection keeps no state between use cases,
//! and a pooler in transaction mode may be used. Without a pooler, `statements=prepared` in the URL makes the server
//! plan each statement once for each connection.

mod attempts;
mod backend;
mod cancel;
mod failure;
mod hosts;
mod idle;
mod lease;
mod row_locks;
mod session;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Pool, PoolError, QueueMode};
use deadpool_postgres::Runtime;
use prometheus_client::metrics::counter::Counter;
use tokio::time::{sleep, timeout};

use super::operator_acts::Operator;
use super::postgres_url::{Location, read_url};
use super::{Access, EngineConnection, OpenProblem, PoolUse, StoreError, Tx, UseCase};
use attempts::Attempts;
#[cfg(test)]
pub(crate) use backend::{FIND_BACKEND, FIND_ISOLATION};
use failure::Remedy;
use hosts::{CONNECT_TIMEOUT, Hosts};
pub(crate) use lease::Lease;
#[cfg(test)]
pub(crate) use lease::frames;
use row_locks::RowLocks;
use session::Manager;

/// The most connections of one replica: those that only read, so that reads never wait behind changes that wait for a
/// lock or a standby, and all others.
const READING_CONNECTIONS_MAX: usize = 6;
const WRITING_CONNECTIONS_MAX: usize = 10;
/// How long to wait for a connection of the pool, or for a row.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long opening a connection may take, including what is asked of the server then.
const CREATE_TIMEOUT: Duration = Duration::from_secs(2 + CONNECT_TIMEOUT.as_secs());
/// How long others may use a table before its definition is tried again.
const DEFINITION_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Postgres {
    readers: Pool<Manager>,
    writers: Pool<Manager>,
    hosts: Arc<Hosts>,
    row_locks: RowLocks,
    statements: Counter,
    given_up: Counter,
    /// Whose acts are recorded.
    operator: Option<Arc<Operator>>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Postgres").field("pool_use", &self.pool_use()).finish()
    }
}

impl Postgres {
    pub(super) async fn open(
        url: &str,
        statements: Counter,
        given_up: Counter,
    ) -> Result<Self, OpenProblem> {
        let Location { config, tls, prepares } = read_url(url)?;
        let hosts = Arc::new(Hosts::new(config, tls));
        let pool = |connections| {
            Pool::builder(Manager::new(Arc::clone(&hosts), prepares))
                .max_size(connections)
                .wait_timeout(Some(WAIT_TIMEOUT))
                .create_timeout(Some(CREATE_TIMEOUT))
                .queue_mode(QueueMode::Lifo)
                .runtime(Runtime::Tokio1)
                .build()
        };
        let (readers, writers) = (pool(READING_CONNECTIONS_MAX)?, pool(WRITING_CONNECTIONS_MAX)?);
        for pool in [&readers, &writers] {
            idle::close_idle(pool);
        }
        let (row_locks, operator) = (RowLocks::default(), None);
        let postgres = Self { readers, writers, hosts, row_locks, statements, given_up, operator };
        // So that a wrong address or password is noticed now, not at the first login.
        postgres.lease(Access::Read, false).await.map_err(|error| match error {
            StoreError::Unavailable(detail) => OpenProblem::Unreachable(detail),
            other => other.into(),
        })?;
        Ok(postgres)
    }

    /// The same for an operator, whose acts are recorded.
    pub(super) fn operated_by(self, operator: Arc<Operator>) -> Self {
        Self { operator: Some(operator), ..self }
    }

    pub(super) async fn perform<U: UseCase>(&self, use_case: U) -> Result<U::Outcome, StoreError> {
        let _turn = match use_case.contended_row() {
            Some(row) => {
                Some(timeout(WAIT_TIMEOUT, self.row_locks.wait_for(row)).await.map_err(|_| {
                    StoreError::Unavailable("others wait for the same row".to_owned())
                })?)
            }
            None => None,
        };
        let (mut attempts, mut is_renewed) = (Attempts::begin(), false);
        loop {
            // Boxed, because it is large and would make every caller's future as large.
            let failure = match Box::pin(self.attempt(&use_case)).await {
                Ok(outcome) => return Ok(outcome),
                Err(failure) => failure,
            };
            match failure.remedy {
                Some(Remedy::Again) if use_case.access() == Access::Definition => {
                    sleep(DEFINITION_PAUSE).await;
                }
                Some(Remedy::Again) => match attempts.pause(use_case.access().patience()) {
                    Some(pause) => sleep(pause).await,
                    None => return Err(failure.error),
                },
                Some(Remedy::NewConnection) => {
                    // Other connections of the same age may lead to the same server.
                    self.readers.retain(|_, _| false);
                    self.writers.retain(|_, _| false);
                    if is_renewed {
                        return Err(failure.error);
                    }
                    is_renewed = true;
                }
                None => return Err(failure.error),
            }
        }
    }

    /// Runs it once, on one connection.
    async fn attempt<U: UseCase>(&self, use_case: &U) -> Result<U::Outcome, Failure> {
        let access = match use_case.access() {
            // What it does is recorded in a second statement.
            Access::Write if self.operator.is_some() => Access::Transaction,
            access => access,
        };
        let is_gated = access.is_gated() && !U::PASSES_CLOSED_GATE;
        let mut lease = self.lease(access, is_gated).await?;
        match timeout(access.patience(), self.run(&mut lease, use_case)).await {
            Ok(outcome) => outcome.map_err(|error| Failure { error, remedy: lease.remedy() }),
            Err(_) => Err(StoreError::Unavailable(lease.why_given_up().to_owned()).into()),
        }
    }

    async fn run<U: UseCase>(
        &self,
        lease: &mut Lease,
        use_case: &U,
    ) -> Result<U::Outcome, StoreError> {
        let connection = EngineConnection::Postgres(lease);
        let operator = self.operator.as_deref();
        let mut tx = Tx { connection, statements: &self.statements, operator };
        let outcome = use_case.run(&mut tx).await;
        lease.end(outcome.is_ok()).await?;
        outcome
    }

    async fn lease(&self, access: Access, is_gated: bool) -> Result<Lease, StoreError> {
        let pool = if access == Access::Read { &self.readers } else { &self.writers };
        let object = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(_) => StoreError::Unavailable("no connection in time".to_owned()),
            other => StoreError::Unavailable(other.to_string()),
        })?;
        Ok(Lease::new(object, Arc::clone(&self.hosts), access, is_gated, self.given_up.clone()))
    }

    pub(super) fn pool_use(&self) -> PoolUse {
        let of = |pool: &Pool<Manager>| {
            let status = pool.status();
            PoolUse {
                capacity: status.max_size,
                in_use: status.size.saturating_sub(status.available),
                waiting: status.waiting,
            }
        };
        let (readers, writers) = (of(&self.readers), of(&self.writers));
        PoolUse {
            capacity: readers.capacity + writers.capacity,
            in_use: readers.in_use + writers.in_use,
            waiting: readers.waiting + writers.waiting,
        }
    }
}

struct Failure {
    error: StoreError,
    remedy: Option<Remedy>,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { error, remedy: None }
    }
}
