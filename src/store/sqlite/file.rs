//! The file of the database: who opens it, and whether it is still the one that was opened.

use std::fs::{Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::{OpenProblem, StoreError};
use super::statement::{classify, run_script};

/// How long to wait for another process, such as the command line, that holds the database.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest write-ahead log that is left on the disk once it was copied into the database.
const LOG_SIZE_MAX: i64 = 16 << 20;
/// What the header of a file says (`user_version`) that holds nothing of what was replaced or deleted in it.
/// Anything else asks for the file to be written anew.
const IS_CLEAN: i64 = 1;
/// What SQLite adds to the path for each file of a database that is open: the database itself, the
/// write-ahead log, and the index of that.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// What tells a file from every other one: its device and inode.
type Identity = (u64, u64);

/// The file of a database that is open.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    /// Where it is, from the root on.
    pub(super) path: PathBuf,
    /// Which files were opened. An inode is not used again as long as a connection has it open.
    opened: [Option<Identity>; SUFFIXES.len()],
    /// Why the path does not name the files that are open, when that was last looked at.
    lost: ArcSwapOption<String>,
}

impl DatabaseFile {
    /// Opens the database, which is made if it is not there: the file, a connection that must stay
    /// open for as long as the file is used, and whether it was made.
    pub(super) fn open(path: &Path) -> Result<(Self, Connection, bool), OpenProblem> {
        let is_new = create_for_owner(path);
        let before = identity(path, "");
        let mut connection = open_file(path).map_err(OpenProblem::File)?;
        set_up(&connection).map_err(classify).map_err(OpenProblem::File)?;
        let left_clean = if is_new {
            say_that_it_is_clean(&connection)
        } else {
            leave_nothing_behind(&mut connection, path)
        };
        left_clean.map_err(OpenProblem::File)?;
        // Takes and releases the write lock: a read-only file or folder shows now, not at the first
        // login.
        run_script(&mut connection, "BEGIN IMMEDIATE; COMMIT")?;
        let opened = SUFFIXES.map(|suffix| identity(path, suffix));
        if opened[0] != before {
            return Err(OpenProblem::Replaced);
        }
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok((Self { path, opened, lost: ArcSwapOption::empty() }, connection, is_new))
    }

    /// One more connection to the file.
    pub(super) fn connect(&self) -> Result<Connection, StoreError> {
        // SQLite would read the log of this database as that of a file that took its place.
        self.look()?;
        let connection = open_file(&self.path)?;
        leave_log_alone(&connection)?;
        set_up(&connection).map_err(classify)?;
        self.look()?;
        Ok(connection)
    }

    /// Looks whether the path still names the files that are open: what is written to others is
    /// lost, and what is read from them is out of date. Says it in the log once.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        let replaced = |(suffix, opened): (&&str, &Option<Identity>)| {
            let found = identity(&self.path, suffix);
            let happened = if found.is_some() { "replaced" } else { "deleted or moved away" };
            (found != *opened).then(|| {
                format!(
                    "{}{suffix} was {happened} while it was open: put it back, or restart the \
                     service",
                    self.path.display()
                )
            })
        };
        let problem = SUFFIXES.iter().zip(&self.opened).find_map(replaced);
        let known = self.lost.load();
        if known.as_deref() != problem.as_ref() {
            if let Some(problem) = &problem {
                tracing::error!("the database cannot be used: {problem}");
            } else {
                tracing::info!("the file of the database is back");
            }
            self.lost.store(problem.map(Arc::new));
        }
        self.last_look()
    }

    /// What came of the last look.
    pub(super) fn last_look(&self) -> Result<(), StoreError> {
        let unavailable = |problem: &Arc<String>| StoreError::Unavailable(problem.to_string());
        self.lost.load().as_ref().map_or(Ok(()), |problem| Err(unavailable(problem)))
    }
}

/// Makes the file, if there is none, so that only its owner can read the hashes in it; whether it
/// did. Whatever goes wrong shows when the file is opened.
fn create_for_owner(path: &Path) -> bool {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).is_ok()
}

/// Writes the file anew if what was replaced or deleted in it may still be there to read: it was written by a
/// version that overwrote nothing, or its tables were changed or users imported since it was last written anew.
/// Nobody is kept waiting: while another process has the file open nothing is done, and whoever opens it next
/// tries again. That it fails stops nobody.
fn leave_nothing_behind(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    if version.is_ok_and(|version| version == IS_CLEAN) {
        return Ok(());
    }
    // Only who is alone with a file can take its log away.
    connection.busy_timeout(Duration::ZERO).map_err(classify)?;
    if connection.pragma_update(None, "journal_mode", "DELETE").is_ok() {
        match run_script(connection, "VACUUM").and_then(|()| say_that_it_is_clean(connection)) {
            Ok(()) => tracing::info!("the file of the database was written anew"),
            Err(problem) => tracing::warn!(
                "what was replaced or deleted in {} may still be readable there, because the file could not be \
                 written anew: {problem}; make room for another of its size, there and in the folder of temporary \
                 files (SQLITE_TMPDIR), and restart",
                path.display()
            ),
        }
    }
    set_up(connection).map_err(classify)
}

fn say_that_it_is_clean(connection: &Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "user_version", IS_CLEAN).map_err(classify)
}

fn identity(path: &Path, suffix: &str) -> Option<Identity> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    std::fs::metadata(PathBuf::from(name)).ok().map(identity)
}

/// Opens a file that is there.
fn open_file(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(classify)
}

/// Has the log left as it is when this connection is closed, even if it is the last one. Otherwise SQLite copies
/// the log into whatever file the path names by then, and deletes it.
pub(super) fn leave_log_alone(connection: &Connection) -> Result<(), StoreError> {
    let setting = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(setting, true).map(drop).map_err(classify)
}

/// Settings of a connection.
pub(super) fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What is replaced or deleted is overwritten in the file: it may be a hash that can be guessed at.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE_MAX)?;
    // A thread of its own copies the log into the database: see `threads`.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Without this the planner may look at the values of parameters, and a statement is planned
    // again each time that it is given others.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}
