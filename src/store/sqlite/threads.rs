//! The threads that wait for the disk, so that no others do.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::super::{OpenProblem, StoreError};
use super::file::{BUSY_TIMEOUT, DatabaseFile, leave_log_alone};
use super::job::Job;
use super::queue::Queue;
use super::statement::{classify, run, run_script};
use jeton_runtime::supervision::panic_text;

/// How many writes share one commit.
const WRITES_MAX: usize = 64;
/// After a commit of at least `SHARED_WRITES_MIN` writes, the thread waits this long for more: the more writes share a
/// flush to the disk, the less each of them costs. A write that is alone never waits.
const SHARED_WRITES_MIN: usize = 4;
const SHARED_WRITES_PAUSE: Duration = Duration::from_millis(1);
/// How many reads a thread takes together. One that waits for the disk delays the others.
const READS_MAX: usize = 16;
/// The write-ahead log is copied into the database when it has this many pages of 4 KiB.
const LOG_PAGES: usize = 1_000;
/// With this many pages, the writing thread copies it too. Only a log that was copied to its end is reused, and under
/// load the keeper never reaches the end.
const LOG_PAGES_MAX: usize = 4_000;
/// How long the writing thread waits before it tries again to copy the log.
const COPY_PAUSE: Duration = Duration::from_millis(5);
/// How often the file is checked when nothing is written.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the log is emptied, if nobody uses it at that moment. It contains old pages, in which hashes may have been
/// replaced or deleted since.
const EMPTY_INTERVAL: Duration = Duration::from_mins(1);
/// Copies what can be copied without waiting.
const COPY_LOG: &str = "PRAGMA wal_checkpoint(PASSIVE)";
/// Copies everything and empties the log.
const EMPTY_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

pub(super) type Jobs = Queue<Box<dyn Job>>;

/// Starts a thread. It holds `alive` until it has ended and its connection is closed.
pub(super) fn start(
    name: &str,
    alive: Sender<()>,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), OpenProblem> {
    let run = move || {
        work();
        drop(alive);
    };
    let started = thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map(drop).map_err(OpenProblem::Thread)
}

/// Reads until the queue is closed.
pub(super) fn read(jobs: &Jobs, threads: usize, file: &DatabaseFile) {
    work_until_closed(
        || file.connect(),
        jobs,
        (threads, READS_MAX),
        |connection, batch| read_together(connection, batch, file),
    );
}

/// Runs these jobs in one transaction, begun after all were requested. Returns whether the connection failed.
fn read_together(
    connection: &mut Connection,
    batch: Vec<Box<dyn Job>>,
    file: &DatabaseFile,
) -> bool {
    let begun = file.last_look().and_then(|()| run(connection, "BEGIN"));
    if begun.is_err() {
        answer_all(batch, &begun);
        return true;
    }
    let mut failed = false;
    for mut job in batch {
        if !job.is_given_up() {
            let read = job.run(connection);
            failed |= read.is_err();
            job.answer(read);
        }
    }
    failed || run(connection, "COMMIT").is_err()
}

/// Writes until the queue is closed, and wakes the keeper when the log is long.
pub(super) fn write(jobs: &Jobs, file: &DatabaseFile, keeper: &SyncSender<()>) {
    let pages = Arc::new(AtomicUsize::new(0));
    let connect = || {
        let (mut connection, counter) = (file.connect()?, Arc::clone(&pages));
        let count = move |_: &mut Wal, pages| {
            counter.store(usize::try_from(pages).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(count)).map_err(classify)?;
        Ok(connection)
    };
    let mut copied = 0;
    work_until_closed(connect, jobs, (1, WRITES_MAX), |connection, batch| {
        let shared = batch.len();
        let failed = write_together(connection, batch, file);
        let length = pages.load(Ordering::Relaxed);
        copied = copied.min(length);
        if length >= LOG_PAGES {
            keeper.try_send(()).ok();
        }
        if length - copied >= LOG_PAGES_MAX {
            copy_log(connection);
            copied = length;
        }
        if shared >= SHARED_WRITES_MIN && jobs.length().1 < shared {
            thread::park_timeout(SHARED_WRITES_PAUSE);
        }
        failed
    });
}

/// Copies the log for the writing thread. SQLite refuses while the keeper copies, and the log would grow further, so
/// this waits for the keeper.
fn copy_log(connection: &Connection) {
    let latest = Instant::now() + BUSY_TIMEOUT;
    let is_refused = || connection.query_row(COPY_LOG, [], |row| row.get::<_, i64>(0));
    while is_refused().is_ok_and(|refused| refused != 0) && Instant::now() < latest {
        thread::park_timeout(COPY_PAUSE);
    }
}

/// Keeps the file until the sender is gone, and then leaves a single file if no other process has it open. The
/// connection stays open as long as the others are used, so that the log and its index stay in place.
pub(super) fn keep(mut connection: Connection, file: &DatabaseFile, wakes: &Receiver<()>) {
    let mut emptied = Instant::now();
    loop {
        let wake = wakes.recv_timeout(LOOK_INTERVAL);
        let work = || {
            let is_due = emptied.elapsed() >= EMPTY_INTERVAL;
            if wake.is_ok() || is_due {
                run_script(&mut connection, COPY_LOG).ok();
            }
            if file.look().is_ok() && is_due && empty_log_at_rest(&connection) {
                emptied = Instant::now();
            }
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| report(&*panic));
        if wake == Err(RecvTimeoutError::Disconnected) {
            break;
        }
    }
    // A file that has replaced the open one is not touched.
    if file.look().is_ok() {
        // Another process may be using the file, and cannot write while the log is emptied. So this happens only if it
        // takes no time. The last one to close the file removes the log.
        run_script(&mut connection, COPY_LOG).ok();
        empty_log_at_rest(&connection);
    } else {
        leave_log_alone(&connection).ok();
    }
}

/// Empties the log, most of which was copied, if nobody reads or writes at this moment. Returns whether it did.
pub(super) fn empty_log_at_rest(connection: &Connection) -> bool {
    let empty = || {
        connection.busy_timeout(Duration::ZERO)?;
        connection.query_row(EMPTY_LOG, [], |row| Ok(row.get::<_, i64>(0)? == 0))
    };
    let emptied = empty();
    connection.busy_timeout(BUSY_TIMEOUT).ok();
    emptied.unwrap_or(false)
}

/// Runs jobs until the queue is closed. `work` returns whether the connection failed and must be replaced. After a
/// panic the thread goes on with a new connection.
fn work_until_closed(
    connect: impl Fn() -> Result<Connection, StoreError>,
    jobs: &Jobs,
    (threads, most): (usize, usize),
    mut work: impl FnMut(&mut Connection, Vec<Box<dyn Job>>) -> bool,
) {
    let mut kept: Option<Connection> = None;
    loop {
        let batch = jobs.take(threads, most);
        let length = batch.len();
        if length == 0 {
            return;
        }
        let connection = kept.take();
        let attempt = || match connection.map_or_else(&connect, Ok) {
            Ok(mut connection) => (!work(&mut connection, batch)).then_some(connection),
            Err(error) => {
                answer_all(batch, &Err(error));
                None
            }
        };
        // Callers whose jobs are lost in a panic notice that their channels are closed.
        kept = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| {
            report(&*panic);
            None
        });
        jobs.done(length);
    }
}

fn answer_all(batch: Vec<Box<dyn Job>>, effect: &Result<(), StoreError>) {
    for job in batch {
        job.answer(effect.clone());
    }
}

fn report(panic: &(dyn Any + Send)) {
    let text = panic_text(panic);
    tracing::error!("a thread of the database panicked, and goes on: {text}");
}

/// Commits these jobs together. Returns whether the connection failed.
fn write_together(
    connection: &mut Connection,
    mut batch: Vec<Box<dyn Job>>,
    file: &DatabaseFile,
) -> bool {
    let effect = loop {
        batch.retain(|job| !job.is_given_up());
        if batch.is_empty() {
            return false;
        }
        if let Some(effect) = try_to_write(connection, &mut batch, file) {
            break effect;
        }
    };
    let failed = effect.is_err();
    answer_all(batch, &effect);
    failed
}

/// Runs these jobs in one transaction. `None`, and nothing committed, if one was given up meanwhile: then the others
/// must be run again without it.
fn try_to_write(
    connection: &mut Connection,
    batch: &mut [Box<dyn Job>],
    file: &DatabaseFile,
) -> Option<Result<(), StoreError>> {
    let mut done = file.look().and_then(|()| run_in_transaction(connection, batch));
    let all_wait = batch.iter().all(|job| !job.is_given_up());
    if all_wait {
        done = done.and_then(|()| run(connection, "COMMIT"));
    }
    if !connection.is_autocommit() {
        run(connection, "ROLLBACK").ok();
    }
    // What was written to a replaced file is lost.
    all_wait.then(|| done.and_then(|()| file.look()))
}

/// Begins a transaction and runs each job in it. A job that fails is undone alone.
fn run_in_transaction(
    connection: &mut Connection,
    batch: &mut [Box<dyn Job>],
) -> Result<(), StoreError> {
    run(connection, "BEGIN IMMEDIATE")?;
    for job in batch {
        run(connection, "SAVEPOINT use_case")?;
        if let Err(error) = job.run(connection) {
            if connection.is_autocommit() {
                // SQLite has rolled back everything, as when the disk is full.
                return Err(StoreError::Unavailable(format!("nothing was written: {error}")));
            }
            run(connection, "ROLLBACK TO use_case")?;
        }
        run(connection, "RELEASE use_case")?;
    }
    Ok(())
}
