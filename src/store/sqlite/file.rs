//! The file of the database: opening it, and checking that it is still the one that was opened.

use std::fs::{Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::{OpenProblem, StoreError};
use super::statement::{classify, run_script};

/// How long to wait for another process, such as the command line, that has locked the database.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The write-ahead log is truncated to this many octets once it was copied into the database.
const LOG_SIZE_MAX: i64 = 16 << 20;
/// The value of `user_version` in the header of a file that contains nothing replaced or deleted. Any other value
/// requests that the file be rewritten.
const IS_CLEAN: i64 = 1;
/// The suffixes of the files of an open database: the database itself, the write-ahead log, and its index.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// Device and inode, which identify a file.
type Identity = (u64, u64);

/// The file of an open database.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    /// The absolute path.
    pub(super) path: PathBuf,
    /// The files that were opened. An inode is not reused while a connection has it open.
    opened: [Option<Identity>; SUFFIXES.len()],
    /// Why the path no longer leads to the open files, as of the last check.
    lost: ArcSwapOption<String>,
}

impl DatabaseFile {
    /// Opens the database, or creates it. Returns the file, a connection that must stay open while the file is used,
    /// and whether the file was created.
    pub(super) fn open(path: &Path) -> Result<(Self, Connection, bool), OpenProblem> {
        let is_new = create_for_owner(path);
        let before = identity(path, "");
        let mut connection = open_file(path).map_err(OpenProblem::File)?;
        set_up(&connection).map_err(classify).map_err(OpenProblem::File)?;
        let cleaned = if is_new {
            mark_clean(&connection)
        } else {
            rewrite_unless_clean(&mut connection, path)
        };
        cleaned.map_err(OpenProblem::File)?;
        // Takes and releases the write lock, so that a read-only file or folder is noticed now, not at the first login.
        run_script(&mut connection, "BEGIN IMMEDIATE; COMMIT")?;
        let opened = SUFFIXES.map(|suffix| identity(path, suffix));
        if opened[0] != before {
            return Err(OpenProblem::Replaced);
        }
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok((Self { path, opened, lost: ArcSwapOption::empty() }, connection, is_new))
    }

    pub(super) fn connect(&self) -> Result<Connection, StoreError> {
        // SQLite would use the log of this database for a file that has replaced it.
        self.look()?;
        let connection = open_file(&self.path)?;
        leave_log_alone(&connection)?;
        set_up(&connection).map_err(classify)?;
        self.look()?;
        Ok(connection)
    }

    /// Checks that the path still leads to the open files. Writes to replaced files are lost, and reads from them are
    /// out of date. A change is logged once.
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

    /// The result of the last check.
    pub(super) fn last_look(&self) -> Result<(), StoreError> {
        let unavailable = |problem: &Arc<String>| StoreError::Unavailable(problem.to_string());
        self.lost.load().as_ref().map_or(Ok(()), |problem| Err(unavailable(problem)))
    }
}

/// Creates the file, if there is none, readable only by its owner because it contains hashes. Returns whether it did.
/// Errors show when the file is opened.
///
/// A command of root gives the file to the owner of its folder, so that the service, which runs as that user, can open
/// it. SQLite does the same with the log of a database. Others may not give files away, and need not.
fn create_for_owner(path: &Path) -> bool {
    let Ok(file) = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) else {
        return false;
    };
    let folder = path.canonicalize().ok().and_then(|path| path.parent()?.metadata().ok());
    if let Some(folder) = folder {
        fchown(&file, Some(folder.uid()), Some(folder.gid())).ok();
    }
    true
}

/// Rewrites the file if it may still contain what was replaced or deleted: it is from a version that did not overwrite
/// such data, its tables were changed, or users were imported. Nobody waits for this: if another process has the file
/// open nothing is done, and the next one to open it tries again. A failure is only logged.
fn rewrite_unless_clean(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    if version.is_ok_and(|version| version == IS_CLEAN) {
        return Ok(());
    }
    // Only a process that is alone with a file can remove its log.
    connection.busy_timeout(Duration::ZERO).map_err(classify)?;
    if connection.pragma_update(None, "journal_mode", "DELETE").is_ok() {
        match run_script(connection, "VACUUM").and_then(|()| mark_clean(connection)) {
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

fn mark_clean(connection: &Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "user_version", IS_CLEAN).map_err(classify)
}

fn identity(path: &Path, suffix: &str) -> Option<Identity> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    std::fs::metadata(PathBuf::from(name)).ok().map(identity)
}

fn open_file(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(classify)
}

/// Keeps the log when this connection is closed, even if it is the last one. Otherwise SQLite would copy the log into
/// whatever file the path leads to by then, and delete it.
pub(super) fn leave_log_alone(connection: &Connection) -> Result<(), StoreError> {
    let setting = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(setting, true).map(drop).map_err(classify)
}

pub(super) fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Overwrites what is replaced or deleted, since it may be a hash, from which the password can be guessed.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE_MAX)?;
    // A separate thread copies the log into the database: see `threads`.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Otherwise the planner may use the values of parameters, and plan a statement again for new values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}
