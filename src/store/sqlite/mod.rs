//! SQLite in WAL mode with `synchronous=FULL`.
//!
//! Everything that may wait for the disk runs in threads of its own. One thread writes. It commits all waiting writes
//! together, so that many logins share one flush to the disk. A few threads read. The keeper copies the write-ahead log
//! into the database, and checks that the file is still in place.

mod file;
mod job;
mod queue;
mod statement;
mod threads;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::operator_acts::Operator;
use super::{Access, OpenProblem, PoolUse, StoreError, UseCase};
use file::DatabaseFile;
use job::Asked;
use queue::Refusal;
pub(super) use statement::{classify, execute, query, run_script};
use threads::Jobs;

const CLOSING_TIME_MAX: Duration = Duration::from_secs(5);
/// The fewest and the most threads that read. There are several, so that a read that waits for the disk does not delay
/// reads of pages in memory.
const READING_THREADS: (usize, usize) = (2, 4);

/// The database. Dropping the last clone closes it.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    open: Arc<Open>,
    statements: Counter,
    /// How long a caller waits for the outcome.
    patience: fn(Access) -> Duration,
    /// Whose acts are recorded.
    operator: Option<Arc<Operator>>,
}

/// The open database.
#[derive(Debug)]
struct Open {
    reads: Arc<Jobs>,
    writes: Arc<Jobs>,
    /// What must happen to close it; `None` if it is closed.
    end: Mutex<Option<End>>,
    /// The path of the file, if opening it created it.
    new_file: Option<PathBuf>,
}

/// Channels that end with the threads. Dropping `wake_keeper` ends the keeper.
#[derive(Debug)]
struct End {
    readers: Receiver<()>,
    writer: Receiver<()>,
    keeper: Receiver<()>,
    wake_keeper: SyncSender<()>,
}

impl Sqlite {
    pub(super) fn open(path: &Path, statements: Counter) -> Result<Self, OpenProblem> {
        let (file, connection, is_new) = DatabaseFile::open(path)?;
        let new_file = is_new.then(|| file.path.clone());
        let file = Arc::new(file);
        let [of_readers, of_writer, of_keeper] = [channel(), channel(), channel()];
        let (wake_keeper, wakes) = sync_channel(1);
        let end = End {
            readers: of_readers.1,
            writer: of_writer.1,
            keeper: of_keeper.1,
            wake_keeper: wake_keeper.clone(),
        };
        let end = Mutex::new(Some(end));
        let open = Open { reads: Arc::default(), writes: Arc::default(), end, new_file };

        let kept = Arc::clone(&file);
        threads::start("sqlite-keeper", of_keeper.0, move || {
            threads::keep(connection, &kept, &wakes);
        })?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = cores.clamp(READING_THREADS.0, READING_THREADS.1);
        for _ in 0..count {
            let (jobs, file) = (Arc::clone(&open.reads), Arc::clone(&file));
            threads::start("sqlite-reader", of_readers.0.clone(), move || {
                threads::read(&jobs, count, &file);
            })?;
        }
        let jobs = Arc::clone(&open.writes);
        threads::start("sqlite-writer", of_writer.0, move || {
            threads::write(&jobs, &file, &wake_keeper);
        })?;
        let open = Arc::new(open);
        Ok(Self { open, statements, patience: Access::patience, operator: None })
    }

    /// The same for an operator, whose acts are recorded.
    pub(super) fn operated_by(self, operator: Arc<Operator>) -> Self {
        Self { operator: Some(operator), ..self }
    }

    pub(super) async fn perform<U: UseCase>(&self, use_case: U) -> Result<U::Outcome, StoreError> {
        let access = use_case.access();
        let jobs = if access == Access::Read { &self.open.reads } else { &self.open.writes };
        let (reply, outcome) = oneshot::channel();
        let (statements, operator) = (self.statements.clone(), self.operator.clone());
        let unavailable = |detail: &str| StoreError::Unavailable(detail.to_owned());
        jobs.push(Box::new(Asked { use_case, statements, operator, reply, outcome: None }))
            .map_err(|refusal| match refusal {
                Refusal::Full => unavailable("too much waits for the disk"),
                Refusal::Closed => unavailable("it was closed"),
            })?;
        match timeout((self.patience)(access), outcome).await {
            Ok(outcome) => outcome.unwrap_or_else(|_| Err(unavailable("its thread panicked"))),
            // The receiver is gone by then, so the job counts as given up.
            Err(_) => Err(unavailable("the disk did not answer in time")),
        }
    }

    /// The path of the file, if opening it created it.
    pub(super) fn new_file(&self) -> Option<&Path> {
        self.open.new_file.as_deref()
    }

    pub(super) fn pool_use(&self) -> PoolUse {
        let (in_progress, waiting) = self.open.writes.length();
        PoolUse {
            capacity: 1,
            in_use: in_progress.min(1),
            waiting: waiting + in_progress.saturating_sub(1),
        }
    }

    /// Finishes what waits, and leaves a single file. Blocks for a limited time.
    pub(super) fn close(&self) {
        self.open.close();
    }
}

impl Open {
    fn close(&self) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(End { readers, writer, keeper, wake_keeper }) = end.take() else { return };
        let latest = Instant::now() + CLOSING_TIME_MAX;
        self.reads.close();
        self.writes.close();
        // Nothing is ever sent: the channel closes when the thread ends.
        let has_ended = |thread: &Receiver<()>| {
            let time_left = latest.saturating_duration_since(Instant::now());
            thread.recv_timeout(time_left) == Err(RecvTimeoutError::Disconnected)
        };
        let others_ended = has_ended(&readers) && has_ended(&writer);
        drop(wake_keeper);
        if !(others_ended && has_ended(&keeper)) {
            tracing::warn!(
                "the database was not closed within {CLOSING_TIME_MAX:?}: what was not answered may \
                 be lost, and what was is partly in the file beside it that ends in -wal"
            );
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use rusqlite::{Connection, StatementStatus};

    use super::super::Tx;
    use super::super::sql::{
        CREATE_MIGRATION_TABLE, FIND_CLIENT, FIND_SESSION, FIND_USER, INSERT_MIGRATION,
        LIST_MIGRATIONS, REFRESH_SESSION,
    };
    use super::super::value::Value;
    use super::job::Job;
    use super::*;

    #[test]
    fn a_statement_is_planned_once() {
        let connection = Connection::open_in_memory().expect("memory");
        file::set_up(&connection).expect("settings");
        for script in crate::migration::scripts() {
            connection.execute_batch(script).expect("tables");
        }
        let (client, session) = (&FIND_CLIENT.one, &FIND_SESSION.one);
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

    /// A database in a folder of its own, with a table of numbers from 1 on. Deleted when dropped.
    struct Numbers {
        store: Sqlite,
        folder: PathBuf,
    }

    impl Drop for Numbers {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }

    impl Numbers {
        fn new(test: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("jeton-{test}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder");
            let path = folder.join("numbers.db");
            let connection = Connection::open(&path).expect("a file");
            execute(&connection, &CREATE_MIGRATION_TABLE, &[]).expect("a table");
            drop(connection);
            let mut store = Sqlite::open(&path, Counter::default()).expect("a database");
            store.patience = hasty;
            Self { store, folder }
        }

        /// Runs it and waits for the answer as long as the test may take.
        async fn ask(&self, act: Act) -> Result<(), StoreError> {
            let patient = Sqlite { patience: |_| Duration::MAX, ..self.store.clone() };
            patient.perform(act).await
        }

        /// Closes the database and returns the numbers in the file.
        fn close(self) -> Vec<i64> {
            self.store.close();
            let left: Vec<_> = std::fs::read_dir(&self.folder).expect("a folder").collect();
            assert_eq!(left.len(), 1, "one file: {left:?}");
            let connection = Connection::open(self.folder.join("numbers.db")).expect("a file");
            let rows = query(&connection, &LIST_MIGRATIONS, &[]).expect("rows");
            rows.iter().map(|row| row.get("version").expect("a number")).collect()
        }
    }

    /// Waits only a moment where the service waits for a limited time.
    fn hasty(access: Access) -> Duration {
        if access.patience() == Duration::MAX { Duration::MAX } else { Duration::from_millis(100) }
    }

    /// Waits until something is so. A test that waits in vain is stopped from outside.
    async fn until(mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    }

    enum Act {
        Write(i64),
        /// Writes so many octets.
        Fill(i64, usize),
        WriteAndPanic(i64),
        /// Reports that it has begun, and waits.
        WriteAndWait(i64, Sender<()>, Mutex<Receiver<()>>),
        /// The same, as a change of tables.
        DefineAndWait(i64, Sender<()>, Mutex<Receiver<()>>),
        Read,
        /// The same, without writing.
        ReadAndWait(Sender<()>, Mutex<Receiver<()>>),
    }

    impl UseCase for Act {
        type Outcome = ();
        const ACCESS: Access = Access::Write;

        fn access(&self) -> Access {
            match self {
                Self::Read | Self::ReadAndWait(..) => Access::Read,
                Self::DefineAndWait(..) => Access::Definition,
                _ => Self::ACCESS,
            }
        }

        async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
            let row = match self {
                Self::Write(number)
                | Self::WriteAndPanic(number)
                | Self::WriteAndWait(number, ..)
                | Self::DefineAndWait(number, ..) => Some((*number, 1)),
                Self::Fill(number, octets) => Some((*number, *octets)),
                Self::Read | Self::ReadAndWait(..) => None,
            };
            if let Some((number, octets)) = row {
                let text = "x".repeat(octets);
                let values = [number.into(), text.as_str().into(), "".into(), 0.into()];
                tx.execute(&INSERT_MIGRATION, &values).await?;
            }
            match self {
                Self::Read | Self::Write(_) | Self::Fill(..) => {}
                Self::WriteAndPanic(number) => panic!("the number {number}"),
                Self::WriteAndWait(_, begun, go)
                | Self::DefineAndWait(_, begun, go)
                | Self::ReadAndWait(begun, go) => {
                    begun.send(()).ok();
                    go.lock().expect("nobody panics").recv().ok();
                }
            }
            Ok(())
        }
    }

    /// A use case that panics is undone, and its caller is told. Others, even those in the same commit, are not
    /// affected.
    #[tokio::test]
    async fn a_panic_undoes_its_use_case_alone() {
        let numbers = Numbers::new("panic");
        for number in [1, 3, 5] {
            let (other, panicking) = tokio::join!(
                numbers.ask(Act::Write(number)),
                numbers.ask(Act::WriteAndPanic(number + 1))
            );
            assert_eq!(other, Ok(()));
            let text = format!("a use case panicked: the number {}", number + 1);
            assert_eq!(panicking, Err(StoreError::Refused(text)));
        }
        assert_eq!(numbers.close(), [1, 3, 5]);
    }

    /// A job that panics outside its use case.
    struct Bomb;

    impl Job for Bomb {
        fn is_given_up(&self) -> bool {
            panic!("a bomb")
        }

        fn run(&mut self, _: &mut Connection) -> Result<(), StoreError> {
            Ok(())
        }

        fn answer(self: Box<Self>, _: Result<(), StoreError>) {}
    }

    /// A panic outside a use case ends no thread.
    #[tokio::test]
    async fn a_panic_ends_no_thread() {
        let numbers = Numbers::new("bomb");
        for round in 1..=10 {
            assert_eq!(numbers.store.open.reads.push(Box::new(Bomb)), Ok(()));
            assert_eq!(numbers.store.open.writes.push(Box::new(Bomb)), Ok(()));
            until(|| numbers.store.open.reads.length() == (0, 0)).await;
            until(|| numbers.store.open.writes.length() == (0, 0)).await;
            assert_eq!(numbers.ask(Act::Write(round)).await, Ok(()));
            let patient = Sqlite { patience: |_| Duration::MAX, ..numbers.store.clone() };
            assert_eq!(patient.perform(Act::Read).await, Ok(()));
        }
        assert_eq!(numbers.close().len(), 10);
    }

    /// A write whose caller has given up does not begin.
    #[tokio::test]
    async fn what_was_given_up_does_not_begin() {
        let numbers = Numbers::new("given-up");
        let ((begun, _has_begun), (go, wait)) = (channel(), channel());
        for act in [Act::WriteAndWait(1, begun, Mutex::new(wait)), Act::Write(2)] {
            let text = "the disk did not answer in time".to_owned();
            assert_eq!(numbers.store.perform(act).await, Err(StoreError::Unavailable(text)));
        }
        drop(go);
        assert_eq!(numbers.ask(Act::Write(3)).await, Ok(()));
        assert_eq!(numbers.close(), [3]);
    }

    /// A change of tables is not given up, however long it takes.
    #[tokio::test]
    async fn a_change_of_tables_is_waited_for() {
        let numbers = Numbers::new("definition");
        let ((begun, has_begun), (go, wait)) = (channel(), channel());
        let store = numbers.store.clone();
        let define = Act::DefineAndWait(1, begun, Mutex::new(wait));
        let definition = tokio::spawn(async move { store.perform(define).await });
        until(|| has_begun.try_recv().is_ok()).await;
        let text = "the disk did not answer in time".to_owned();
        let behind = numbers.store.perform(Act::Write(2)).await;
        assert_eq!(behind, Err(StoreError::Unavailable(text)));
        drop(go);
        assert_eq!(definition.await.expect("no panic"), Ok(()));
        assert_eq!(numbers.close(), [1]);
    }

    /// A write that its caller gives up before the commit is undone. Those that share its transaction are done, once.
    #[tokio::test]
    async fn what_is_given_up_is_not_committed() {
        let numbers = Numbers::new("giving-up");
        let patient = Sqlite { patience: |_| Duration::MAX, ..numbers.store.clone() };
        let ask = |act| {
            let store = patient.clone();
            tokio::spawn(async move { store.perform(act).await })
        };
        let ((first_begun, has_begun), (go, wait)) = (channel(), channel());
        let first = ask(Act::WriteAndWait(1, first_begun, Mutex::new(wait)));
        until(|| has_begun.try_recv().is_ok()).await;
        let ((second_begun, has_begun), (go_on, wait)) = (channel(), channel());
        let second = ask(Act::WriteAndWait(2, second_begun, Mutex::new(wait)));
        let third = ask(Act::Write(3));
        until(|| numbers.store.open.writes.length() == (1, 2)).await;
        drop(go);
        assert_eq!(first.await.expect("no panic"), Ok(()));
        until(|| has_begun.try_recv().is_ok()).await;
        second.abort();
        assert!(second.await.is_err_and(|error| error.is_cancelled()));
        drop(go_on);
        assert_eq!(third.await.expect("no panic"), Ok(()));
        drop(patient);
        assert_eq!(numbers.close(), [1, 3]);
    }

    /// A read that waits for the disk delays only its own thread. Its caller is told in time, other requests go on, and
    /// so do reads once the disk answers.
    #[tokio::test]
    async fn reads_that_hang_hold_up_no_other_thread() {
        let numbers = Numbers::new("hanging");
        let (begun, _has_begun) = channel();
        let mut releases = Vec::new();
        for _ in 0..3 * READING_THREADS.1 {
            let (go, wait) = channel();
            let hanging = Act::ReadAndWait(begun.clone(), Mutex::new(wait));
            let text = "the disk did not answer in time".to_owned();
            // On the one thread of this test's runtime.
            let outcome = numbers.store.perform(hanging).await;
            assert_eq!(outcome, Err(StoreError::Unavailable(text)));
            releases.push(go);
        }
        assert_eq!(numbers.ask(Act::Write(1)).await, Ok(()));
        drop(releases);
        let patient = Sqlite { patience: |_| Duration::MAX, ..numbers.store.clone() };
        assert_eq!(patient.perform(Act::Read).await, Ok(()));
        assert_eq!(numbers.close(), [1]);
    }

    /// The log is reused, so it does not grow with what is written.
    #[tokio::test]
    async fn the_log_does_not_grow_without_bound() {
        let numbers = Numbers::new("log");
        let log = numbers.folder.join("numbers.db-wal");
        let mut largest = 0;
        for number in 1..=200 {
            // A hundred pages.
            assert_eq!(numbers.ask(Act::Fill(number, 409_600)).await, Ok(()));
            largest = largest.max(std::fs::metadata(&log).expect("it is open").len());
        }
        assert!(largest < 40 << 20, "{largest} of 80 MiB");
        numbers.store.close();
    }

    /// The log is emptied while the service runs, when nobody reads or writes, so nobody waits for it.
    #[tokio::test]
    async fn the_log_is_emptied_when_nobody_uses_it() {
        let numbers = Numbers::new("rest");
        let (file, log) = ("numbers.db", "numbers.db-wal");
        assert_eq!(numbers.ask(Act::Write(1)).await, Ok(()));
        let connect = || Connection::open(numbers.folder.join(file)).expect("the file");
        let length = || std::fs::metadata(numbers.folder.join(log)).expect("it is open").len();
        let (keeper, other) = (connect(), connect());
        for hold in ["BEGIN; PRAGMA schema_version", "BEGIN IMMEDIATE"] {
            other.execute_batch(hold).expect("a transaction");
            assert!(!threads::empty_log_at_rest(&keeper), "{hold}");
            other.execute_batch("COMMIT").expect("its end");
            assert!(length() > 0, "{hold}");
        }
        assert!(threads::empty_log_at_rest(&keeper));
        assert_eq!(length(), 0);
        assert_eq!(numbers.ask(Act::Write(2)).await, Ok(()));
        drop((keeper, other));
        assert_eq!(numbers.close(), [1, 2]);
    }
}
