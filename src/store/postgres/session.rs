//! A connection of the pool, and the task that drives it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use postgres_openssl::TlsStream;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{AsyncMessage, Connection, Socket};

use super::super::StoreError;
use super::attempts::Attempts;
use super::failure::{Remedy, describe, remedy};
use super::hosts::{Hosts, Target};
use super::{CREATE_TIMEOUT, backend};

/// How long a connection is used: between `AGE_MIN` and `AGE_MIN` + `AGE_SPREAD`, so that those that were opened
/// together are not closed together. By then it is noticed if a server's role has changed.
const AGE_MIN: Duration = Duration::from_mins(5);
const AGE_SPREAD: Duration = Duration::from_mins(5);
/// The number of different ages.
const AGES: u32 = 16;

pub(super) struct Session {
    pub(super) client: ClientWrapper,
    pub(super) target: Target,
    /// When it was opened: see [`Hosts::era`].
    pub(super) era: u64,
    /// Whether statements are prepared: the server must keep them for this connection.
    pub(super) prepares: bool,
    /// Whether a transaction whose first statement waits for a lock sees what was there before it waited: so it is
    /// unless the level is `read committed`.
    pub(super) sees_the_past: bool,
    age_max: Duration,
    warned: Arc<AtomicBool>,
    driver: AbortHandle,
}

impl Session {
    /// Whether the server has sent a warning since the last call.
    pub(super) fn take_warning(&self) -> bool {
        self.warned.swap(false, Ordering::SeqCst)
    }

    /// Whether it was used long enough, or is of an earlier era.
    pub(super) fn is_old(&self, metrics: &Metrics, hosts: &Hosts) -> bool {
        metrics.age() > self.age_max || self.era != hosts.era()
    }

    /// Closes the connection, whatever the server is doing.
    pub(super) fn close(&self) {
        self.driver.abort();
    }
}

/// Opens connections, and checks them before they are used again.
pub(super) struct Manager {
    pub(super) hosts: Arc<Hosts>,
    /// Whether to prepare statements if there is no pooler.
    pub(super) prepares: bool,
    opened: AtomicU32,
}

impl Manager {
    pub(super) fn new(hosts: Arc<Hosts>, prepares: bool) -> Self {
        Self { hosts, prepares, opened: AtomicU32::new(0) }
    }

    /// Whether statements can be prepared. With a pooler, the next transaction may use another connection to the
    /// server, on which a statement of the same name belongs to another replica.
    async fn can_prepare(&self, client: &tokio_postgres::Client) -> Result<bool, StoreError> {
        if !self.prepares {
            return Ok(false);
        }
        let direct = ask(|| backend::is_direct(client)).await?;
        if !direct && !self.hosts.pooler_met.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a pooler stands before PostgreSQL, so statements are not prepared; take \
                 statements=prepared out of --database, or lead it to the server itself"
            );
        }
        Ok(direct)
    }
}

impl managed::Manager for Manager {
    type Type = Session;
    type Error = StoreError;

    async fn create(&self) -> Result<Session, StoreError> {
        let era = self.hosts.era();
        let ((client, connection), target) = self.hosts.connect().await?;
        let warned = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(drive(connection, Arc::clone(&warned)));
        let driver = task.abort_handle();
        // Ends the task when it is dropped.
        let client = ClientWrapper::new(client, task);
        let prepares = self.can_prepare(&client).await?;
        let sees_the_past = ask(|| backend::sees_the_past(&client)).await?;
        let step = self.opened.fetch_add(1, Ordering::Relaxed) % AGES;
        let age_max = AGE_MIN + AGE_SPREAD * step / AGES;
        Ok(Session { client, target, era, prepares, sees_the_past, age_max, warned, driver })
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<StoreError> {
        if session.client.is_closed() {
            return Err(RecycleError::message("it was closed"));
        }
        if session.era != self.hosts.era() {
            return Err(RecycleError::message("it is from before another server was looked for"));
        }
        Ok(())
    }
}

/// Asks the server something about a new connection; again if that meets a conflict.
async fn ask<T, F>(question: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, tokio_postgres::Error>>,
{
    let mut attempts = Attempts::begin();
    loop {
        let error = match question().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let is_conflict = matches!(remedy(&error), Some(Remedy::Again));
        match attempts.pause(CREATE_TIMEOUT).filter(|_| is_conflict) {
            Some(pause) => sleep(pause).await,
            None => return Err(StoreError::Unavailable(describe(&error))),
        }
    }
}

/// Passes messages between client and server, and records warnings before the answer that they came with.
async fn drive(mut connection: Connection<Socket, TlsStream<Socket>>, warned: Arc<AtomicBool>) {
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) if is_warning(&notice) => {
                tracing::info!("the database warns: {}", notice.message());
                warned.store(true, Ordering::SeqCst);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!("a connection to the database ended: {}", describe(&error));
                break;
            }
        }
    }
}

fn is_warning(notice: &DbError) -> bool {
    match notice.parsed_severity() {
        Some(severity) => severity == Severity::Warning,
        None => notice.severity() == "WARNING",
    }
}
