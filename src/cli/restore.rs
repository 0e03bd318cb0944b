//! `jeton db restore`: a copy in the place of the database.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::backup::{Unfinished, is_same_file, with_suffix};
use super::confirmation::Confirmation;
use super::reopen::explain;
use super::{Failure, operated, output};
use crate::config::{AdministeredDatabase, DatabaseSettings};
use jeton_runtime::clock::Clock;
use jeton_store::gate::ReadGate;
use jeton_store::operator_acts::RecordRestore;
use jeton_store::sessions::EndAllSessions;
use jeton_store::{DatabaseLocation, Store, migration};

/// What `jeton db restore` takes.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The copy, as `jeton db backup` made it; it stays as it is
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// End all sessions that the copy has: everybody must log in again
    #[arg(long)]
    end_all_sessions: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    database: AdministeredDatabase,
}

/// What the names of the files of a database end in; the database itself comes last.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", ""];

/// What a restore means, whoever the users are.
const CONSEQUENCES: &str = "\
Everything since the copy was made is undone: users, clients, keys and settings are as they were then. \
Passwords that were changed since are the old ones again. Sessions that were revoked since are alive \
again, and so are users and clients that were disabled; sessions that were opened since are unknown. Refresh \
tokens that were exchanged since are good again, whoever has them.";

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let Options { file, end_all_sessions, confirmation, database: administered } = options;
    let DatabaseSettings { database, .. } = &administered.settings;
    let DatabaseLocation::Sqlite(path) = database else {
        return Err("PostgreSQL has its own programs for that: `pg_restore` reads what `pg_dump` \
                    wrote, and recovery to a point in time loses the least"
            .into());
    };
    // A link to the database stays what it is.
    let path = path.canonicalize().unwrap_or_else(|_| path.clone());
    if is_same_file(&path, &file) {
        return Err(Failure::failed(format!(
            "{} is the database itself: name a copy",
            file.display()
        )));
    }
    let locked = lock(&path)?;
    let unfinished = copy_of(&file, &path).await?;
    output::error_line(CONSEQUENCES);
    confirmation.ask(if end_all_sessions {
        "All sessions of the copy will be ended: everybody must log in again."
    } else {
        "With --end-all-sessions nobody goes on with a session of the copy."
    })?;
    require_open(&unfinished, &file).await?;
    if let Some(ended) = change_copy(&unfinished, end_all_sessions, &administered).await? {
        output::line(&format!("Ended {}.", output::counted(ended, "session")));
    }
    let kept = locked.map(|file| keep_aside(&file, &path, &unfinished)).transpose()?;
    unfinished.finish()?;
    output::line(&format!("The database {database} is now the copy."));
    if let Some(kept) = kept {
        output::line(&format!("The one before is kept: {}", kept.display()));
        output::line(
            "It has the password hashes and sealed keys of then: delete it when it is of no more use.",
        );
    }
    Ok(())
}

/// Locks the database for this process alone, if it is there. Every process that uses it holds a
/// lock on it.
fn lock(path: &Path) -> Result<Option<File>, Failure> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::failed(format!("cannot open {}: {error}", path.display())));
        }
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(Failure::failed(format!(
            "the database {} is in use: stop the service, and whatever else has it open, first",
            path.display()
        ))),
        Err(error) => Err(Failure::failed(format!("cannot lock {}: {error}", path.display()))),
    }
}

/// A copy of the file beside the database, checked.
async fn copy_of(file: &Path, path: &Path) -> Result<Unfinished, Failure> {
    let log = with_suffix(file, "-wal");
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err(Failure::failed(format!(
            "{} is not empty, so {} is not all of its database: make the copy with `jeton db backup`",
            log.display(),
            file.display()
        )));
    }
    let unfinished = Unfinished::make(path)?;
    let copy = || -> io::Result<u64> {
        let mut target = OpenOptions::new().write(true).open(&unfinished.path)?;
        io::copy(&mut File::open(file)?, &mut target)
    };
    copy().map_err(|error| format!("cannot copy {}: {error}", file.display()))?;
    unfinished.check().await.map_err(|failure| {
        failure.reworded(|text| format!("{} cannot be the database: {text}", file.display()))
    })?;
    Ok(unfinished)
}

/// Requires a copy that takes changes: it was made of a database that `jeton db copy` had closed, or a newer program.
async fn require_open(copy: &Unfinished, file: &Path) -> Result<(), Failure> {
    let store = Store::open(&DatabaseLocation::Sqlite(copy.path.clone())).await?;
    let has_gate = migration::status(&store).await?.has_gate();
    let closure = if has_gate { store.perform(ReadGate).await? } else { None };
    store.close().await;
    let file = file.display();
    closure.map_or(Ok(()), |closure| {
        Err(Failure::refused(format!(
            "{file} cannot be the database as it is. {} The command for that is `jeton db reopen --database \
             sqlite:{file}`; nothing was changed",
            explain(&closure)
        )))
    })
}

/// Ends all sessions of the copy, if that is wanted, and returns how many; records that it was restored.
async fn change_copy(
    copy: &Unfinished,
    end_all_sessions: bool,
    administered: &AdministeredDatabase,
) -> Result<Option<u64>, Failure> {
    let store = Store::open(&DatabaseLocation::Sqlite(copy.path.clone())).await?;
    let store = if migration::status(&store).await?.is_up_to_date() {
        operated(store, administered)
    } else {
        output::error_line(
            "Note: the copy is of an older version, so `jeton audit` will not show this restore.",
        );
        store
    };
    let ended = if end_all_sessions { Some(store.perform(EndAllSessions).await?) } else { None };
    store.perform(RecordRestore).await?;
    store.close().await;
    if with_suffix(&copy.path, "-wal").exists() {
        return Err("the copy could not be closed in time: try again; nothing was changed".into());
    }
    Ok(ended)
}

/// Moves the database aside, with what of it is in its log, under a name that says when it was. The
/// copy gets its owner.
fn keep_aside(file: &File, path: &Path, copy: &Unfinished) -> Result<PathBuf, Failure> {
    let now = Clock::System.now().to_string().replace(':', "");
    let names = (1..).map(|number| match number {
        1 => with_suffix(path, &format!(".replaced-{now}")),
        _ => with_suffix(path, &format!(".replaced-{now}-{number}")),
    });
    let is_free = |kept: &PathBuf| SUFFIXES.iter().all(|end| !with_suffix(kept, end).exists());
    let kept = names.into_iter().find(is_free).ok_or("there is no name to keep it under")?;
    let move_aside = || -> io::Result<()> {
        let (old, new) = (file.metadata()?, copy.path.metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            chown(&copy.path, Some(old.uid()), Some(old.gid()))?;
        }
        for suffix in SUFFIXES {
            let (from, to) = (with_suffix(path, suffix), with_suffix(&kept, suffix));
            if from.exists() {
                std::fs::rename(from, to)?;
            }
        }
        Ok(())
    };
    match move_aside() {
        Ok(()) => Ok(kept),
        Err(error) => {
            for suffix in SUFFIXES {
                std::fs::rename(with_suffix(&kept, suffix), with_suffix(path, suffix)).ok();
            }
            Err(Failure::failed(format!("cannot move {} aside: {error}", path.display())))
        }
    }
}
