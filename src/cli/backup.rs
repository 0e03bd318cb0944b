//! `jeton db backup`: a copy of a database that may be in use.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, output};
use crate::config::DatabaseSettings;
use jeton_store::backup::{CheckIntegrity, copy};
use jeton_store::{DatabaseLocation, Store, migration};

/// What `jeton db backup` takes.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The file to make; never half-there, and readable only for its owner
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace a file that is there, once the new one is whole
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    database: DatabaseSettings,
}

/// A file that is being made, under a name of its own beside the one that it shall have; deleted
/// when dropped before it has that.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
    to: PathBuf,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(with_suffix(&self.path, suffix)).ok();
        }
    }
}

impl Unfinished {
    /// Makes an empty file that only its owner can read.
    pub(super) fn make(to: &Path) -> Result<Self, Failure> {
        let name = to.file_name().ok_or_else(|| format!("{} names no file", to.display()))?;
        let name = format!(".{}.unfinished-{}", name.to_string_lossy(), std::process::id());
        let path = to.with_file_name(name);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(|error| {
            format!(
                "cannot write {}: {error}; its folder must exist and be writable",
                path.display()
            )
        })?;
        Ok(Self { path, to: to.to_owned() })
    }

    /// Reads all of it: a database of Jeton that is whole, and that this program understands. The
    /// version of its tables.
    pub(super) async fn check(&self) -> Result<i64, Failure> {
        let store = Store::open(&DatabaseLocation::Sqlite(self.path.clone())).await?;
        if let Some(damage) = store.perform(CheckIntegrity).await? {
            return Err(Failure::failed(format!("it is damaged: {damage}")));
        }
        let status = migration::status(&store).await?;
        store.close().await;
        if with_suffix(&self.path, "-wal").exists() {
            return Err("it could not be closed in time: try again".into());
        }
        if status.applied == 0 {
            return Err("it is no database of Jeton".into());
        }
        Ok(status.applied)
    }

    /// Flushes it to the disk and gives it its name. How many octets it has.
    pub(super) fn finish(self) -> Result<u64, Failure> {
        let finish = || -> io::Result<u64> {
            let file = File::open(&self.path)?;
            file.sync_all()?;
            std::fs::rename(&self.path, &self.to)?;
            File::open(folder_of(&self.to))?.sync_all()?;
            Ok(file.metadata()?.len())
        };
        finish().map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", self.to.display()))
        })
    }
}

/// The path with this behind it.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Whether both paths name the same file.
pub(super) fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let Options { file, force, database: DatabaseSettings { database, .. } } = options;
    let DatabaseLocation::Sqlite(path) = &database else {
        return Err(
            "PostgreSQL has its own programs for that: `pg_dump --format=custom` copies a \
                    database that is in use, and archiving its log continuously loses the least"
                .into(),
        );
    };
    if !path.exists() {
        return Err(Failure::failed(format!(
            "there is no database {database} (--database): name the one that `jeton serve` uses"
        )));
    }
    if is_same_file(path, &file) {
        return Err(Failure::failed(format!(
            "{} is the database itself: name another",
            file.display()
        )));
    }
    if file.exists() && !force {
        return Err(Failure::conflict(format!(
            "{} is there: name another file, or say --force to replace it",
            file.display()
        )));
    }
    let unfinished = Unfinished::make(&file)?;
    let copied = copy(path, &unfinished.path, |done, of| output::progress_bar("Copying", done, of));
    output::end_progress();
    copied.map_err(|error| format!("cannot copy the database {database}: {error}"))?;
    output::progress("Checking the copy");
    let checked = unfinished.check().await;
    output::end_progress();
    let version = checked.map_err(|failure| {
        failure.reworded(|text| {
            format!(
                "the copy is of no use and was deleted: {text}; look at the database {database}"
            )
        })
    })?;
    let size = unfinished.finish()?;
    output::line(&format!(
        "Copied the database to {}: {size} octets, tables at version {version}, checked.",
        file.display()
    ));
    Ok(())
}
