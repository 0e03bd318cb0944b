//! The embedded engine: SQLite in WAL mode with `synchronous=FULL`.
//!
//! One thread owns the connection that writes. It commits whatever waits for it together, so that
//! many logins share one flush to the disk. Reads run where they are asked for: they take
//! microseconds, less than handing them to another thread.

use std::fs::OpenOptions;
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, params_from_iter};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::sql::Statement;
use super::value::{Row, Value};
use super::{Access, PoolUse, StoreError, Tx, UseCase};

/// How many writes may wait for the writing thread.
const QUEUE_LENGTH_MAX: usize = 1_024;
/// How many of them share one commit.
const BATCH_LENGTH_MAX: usize = 64;
/// How long to wait for another process, such as the command line, that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How many idle connections for reading are kept.
const READERS_MAX: usize = 16;

/// The embedded store.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    writer: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
    readers: Arc<Mutex<Vec<Connection>>>,
    path: Arc<PathBuf>,
    statements: Counter,
}

/// A write: runs in a transaction, if there is one, and returns how to tell its caller what came of
/// the commit.
type Job = Box<dyn FnOnce(Result<&mut Connection, StoreError>) -> Delivery + Send>;

/// What is left to do once the transaction was committed or not.
type Delivery = Box<dyn FnOnce(Result<(), StoreError>)>;

impl Sqlite {
    pub(super) fn open(path: &Path, statements: Counter) -> Result<Self, String> {
        let explain = |error: rusqlite::Error| {
            format!(
                "{error}; its folder must exist and be writable for this process, and the file must \
                 be a SQLite database"
            )
        };
        create_for_owner(path);
        let mut connection = connect(path).map_err(explain)?;
        // Takes and releases the write lock: a read-only file or folder shows now, not at the
        // first login.
        run_script(&mut connection, "BEGIN IMMEDIATE; COMMIT")
            .map_err(|error| error.to_string())?;
        let (writer, jobs) = sync_channel::<Job>(QUEUE_LENGTH_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let in_queue = Arc::clone(&waiting);
        thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || write_until_closed(&mut connection, &jobs, &in_queue))
            .map_err(|error| format!("cannot start its thread: {error}"))?;
        let readers = Arc::new(Mutex::new(Vec::new()));
        Ok(Self { writer, waiting, readers, path: Arc::new(path.to_owned()), statements })
    }

    pub(super) async fn perform<U: UseCase>(&self, use_case: U) -> Result<U::Outcome, StoreError> {
        if use_case.access() == Access::Read {
            return self.read(&use_case);
        }
        let (reply, outcome) = oneshot::channel();
        let statements = self.statements.clone();
        let patience = use_case.access().patience();
        let job: Job = Box::new(move |transaction| {
            let result = transaction.and_then(|connection| {
                // What its caller has given up before it began is not done.
                if reply.is_closed() {
                    return Err(StoreError::Unavailable("nobody waits for it".to_owned()));
                }
                let result = complete(use_case.run(&mut tx(connection, &statements)));
                if result.is_err() {
                    // Undoes this use case and no other of the batch.
                    run_script(connection, "ROLLBACK TO use_case").ok();
                }
                result
            });
            Box::new(move |committed: Result<(), StoreError>| {
                reply.send(committed.and(result)).ok();
            })
        });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.writer.try_send(job).map_err(|error| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            StoreError::Unavailable(match error {
                TrySendError::Full(_) => "too many writes wait".to_owned(),
                TrySendError::Disconnected(_) => "the writing thread has ended".to_owned(),
            })
        })?;
        let unavailable = |why: &str| Err(StoreError::Unavailable(why.to_owned()));
        match timeout(patience, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => unavailable("the writing thread has ended"),
            Err(_) => unavailable("the database did not finish in time"),
        }
    }

    /// Runs a use case that only reads, here and now.
    fn read<U: UseCase>(&self, use_case: &U) -> Result<U::Outcome, StoreError> {
        let idle = || self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => connect(&self.path).map_err(classify)?,
        };
        let outcome = complete(use_case.run(&mut tx(&mut connection, &self.statements)));
        let mut idle = idle();
        // A connection that met trouble is not kept: the file may have been replaced.
        if outcome.is_ok() && idle.len() < READERS_MAX {
            idle.push(connection);
        }
        outcome
    }

    pub(super) fn pool_use(&self) -> PoolUse {
        let waiting = self.waiting.load(Ordering::Relaxed);
        PoolUse { capacity: 1, in_use: waiting.min(1), waiting: waiting.saturating_sub(1) }
    }
}

/// Makes the file, if there is none, so that only its owner can read the hashes in it. Whatever goes
/// wrong shows when the file is opened.
fn create_for_owner(path: &Path) {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).ok();
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Without this the planner may look at the values of parameters, and a statement is planned
    // again each time that it is given others.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// What the writing thread does.
fn write_until_closed(connection: &mut Connection, jobs: &Receiver<Job>, waiting: &AtomicUsize) {
    while let Ok(first) = jobs.recv() {
        let batch: Vec<Job> =
            std::iter::once(first).chain(jobs.try_iter().take(BATCH_LENGTH_MAX - 1)).collect();
        let length = batch.len();
        let mut deliveries = Vec::with_capacity(length);
        let mut committed = run_script(connection, "BEGIN IMMEDIATE");
        for job in batch {
            committed = committed.and_then(|()| run_script(connection, "SAVEPOINT use_case"));
            deliveries.push(job(committed.clone().map(|()| &mut *connection)));
            committed = committed.and_then(|()| run_script(connection, "RELEASE use_case"));
        }
        committed = committed.and_then(|()| run_script(connection, "COMMIT"));
        if committed.is_err() {
            run_script(connection, "ROLLBACK").ok();
        }
        waiting.fetch_sub(length, Ordering::Relaxed);
        for deliver in deliveries {
            deliver(committed.clone());
        }
    }
}

fn tx<'a>(connection: &'a mut Connection, statements: &'a Counter) -> Tx<'a> {
    Tx { connection: super::EngineConnection::Sqlite(connection), statements }
}

/// Completes a use case whose statements do not wait: on this engine none does.
fn complete<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => unreachable!("a use case waits for nothing but its statements"),
    }
}

pub(super) fn query(
    connection: &Connection,
    statement: &Statement,
    values: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let mut prepared = connection.prepare_cached(&statement.sqlite).map_err(classify)?;
    let columns = prepared.column_count();
    let mut rows = prepared.query(params_from_iter(values)).map_err(classify)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(classify)? {
        let column = |index| Ok::<_, rusqlite::Error>(read_value(row.get_ref(index)?));
        let read: Result<Vec<Value>, _> = (0..columns).map(column).collect();
        all.push(Row(read.map_err(classify)?));
    }
    Ok(all)
}

pub(super) fn execute(
    connection: &Connection,
    statement: &Statement,
    values: &[Value],
) -> Result<u64, StoreError> {
    let mut prepared = connection.prepare_cached(&statement.sqlite).map_err(classify)?;
    let changed = prepared.execute(params_from_iter(values)).map_err(classify)?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

pub(super) fn run_script(connection: &mut Connection, script: &str) -> Result<(), StoreError> {
    connection.execute_batch(script).map_err(classify)
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Octets(octets) => ValueRef::Blob(octets),
        }))
    }
}

fn read_value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(octets) => Value::Octets(octets.to_vec()),
    }
}

/// Sorts an error by what its reader can do about it.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn classify(error: rusqlite::Error) -> StoreError {
    let detail = error.to_string();
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed,
        ) => StoreError::Unavailable(detail),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(detail),
        _ if detail.starts_with("no such table") => StoreError::NoTable(detail),
        _ => StoreError::Refused(detail),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::super::sql::{FIND_CLIENT, FIND_SESSION, FIND_USER, REFRESH_SESSION};
    use super::*;

    /// Does something while it has the connection.
    struct Does<F>(Access, F);

    impl<F: Fn() + Send + Sync + 'static> UseCase for Does<F> {
        type Outcome = ();

        fn access(&self) -> Access {
            self.0
        }

        async fn run(&self, _: &mut Tx<'_>) -> Result<(), StoreError> {
            (self.1)();
            Ok(())
        }
    }

    /// A change of tables takes the time it takes. A write that waits behind it is given up by its caller, and is
    /// not done afterwards.
    #[tokio::test]
    async fn a_change_of_tables_is_waited_for_and_a_write_that_was_given_up_is_not_done() {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("jeton-patience-{}.db", std::process::id()));
        let sqlite = Sqlite::open(&path, Counter::default()).expect("a new file");
        let (finish, finished) = sync_channel(1);
        let finished = Mutex::new(finished);
        let wait = move || {
            let finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
            finished.recv().expect("it is told to finish");
        };
        let own = sqlite.clone();
        let change = tokio::spawn(async move { own.perform(Does(Access::Definition, wait)).await });
        while sqlite.pool_use().in_use == 0 {
            tokio::task::yield_now().await;
        }
        let done = Arc::new(AtomicUsize::new(0));
        let write = || {
            let done = Arc::clone(&done);
            Does(Access::Write, move || {
                done.fetch_add(1, Ordering::SeqCst);
            })
        };
        let given_up = sqlite.perform(write()).await;
        assert!(matches!(given_up, Err(StoreError::Unavailable(_))), "{given_up:?}");
        finish.send(()).expect("it waits");
        assert_eq!(change.await.expect("no panic"), Ok(()));
        assert_eq!(sqlite.perform(write()).await, Ok(()));
        assert_eq!(done.load(Ordering::SeqCst), 1, "only the last was done");
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(format!("{}{suffix}", path.display())).ok();
        }
    }

    #[test]
    fn a_statement_is_planned_once() {
        let connection = connect(Path::new(":memory:")).expect("memory");
        for script in [
            include_str!("../../sql/migrations/0001_initial.sql"),
            include_str!("../../sql/migrations/0002_sessions.sql"),
            include_str!("../../sql/migrations/0003_login_throttle.sql"),
            include_str!("../../sql/migrations/0004_lots.sql"),
        ] {
            connection.execute_batch(script).expect("tables");
        }
        let mut one = vec![Value::Null];
        let (client, session) = (FIND_CLIENT.for_keys(&mut one), FIND_SESSION.for_keys(&mut one));
        for statement in [client, session, &FIND_USER, &REFRESH_SESSION] {
            for round in ["a", "b", "c"] {
                let count = connection.prepare(&statement.sqlite).expect("SQL").parameter_count();
                let values = vec![Value::from(round); count];
                query(&connection, statement, &values).expect("no rows");
                let prepared = connection.prepare_cached(&statement.sqlite).expect("SQL");
                assert_eq!(prepared.get_status(StatementStatus::RePrepare), 0, "{round}");
            }
        }
    }
}
