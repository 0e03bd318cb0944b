//! Finds files with secrets that other users of the machine can read or replace.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::Failure;
use crate::config::ServeSettings;
use jeton_store::DatabaseLocation;

/// What others may do, as bits of a file mode.
const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_PASS: u32 = 0o001;
const GROUP_WRITE: u32 = 0o020;
/// In a folder with this bit nobody can rename or delete files of others.
const STICKY: u32 = 0o1000;

/// A file with secrets.
struct Kept {
    what: &'static str,
    setting: &'static str,
    /// The absolute path with links resolved. The file need not exist.
    path: PathBuf,
}

/// Checks the master keys, the database, the file with its URL and the key of the certificate. Groups of this process are trusted: in
/// Kubernetes that is `fsGroup`. Returns warnings for the log.
///
/// # Errors
/// A sentence, if any user of the machine can replace a master key: then nothing can be sealed safely.
pub(super) fn look(settings: &ServeSettings) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for file in &settings.keys.master.master_key_file {
        let master = Kept::new("the master key", "--master-key-file", file);
        if let Some(problem) = master.replaceable_by(OTHERS_WRITE) {
            return Err(Failure::failed(problem));
        }
        warnings.extend(master.warnings());
    }
    if let DatabaseLocation::Sqlite(file) = &settings.database.database {
        let database = Kept::new("the database", "--database", file);
        warnings.extend(database.replaceable_by(OTHERS_WRITE));
        warnings.extend(database.warnings());
    }
    if let Some(file) = &settings.database.file {
        let url = Kept::new("the URL of the database", "--database-file", file);
        warnings.extend(url.replaceable_by(OTHERS_WRITE));
        warnings.extend(url.warnings());
    }
    if let Some(file) = &settings.tls_key {
        let key = Kept::new("the key of the certificate", "--tls-key", file);
        warnings.extend(key.replaceable_by(OTHERS_WRITE));
        warnings.extend(key.warnings());
    }
    Ok(warnings)
}

impl Kept {
    fn new(what: &'static str, setting: &'static str, path: &Path) -> Self {
        let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { what, setting, path: path.canonicalize().unwrap_or_else(|_| absolute()) }
    }

    /// Warnings about a file that a foreign group can replace, or that everybody can read.
    fn warnings(&self) -> impl Iterator<Item = String> {
        let readable = self.is_reachable() && mode(&self.path) & OTHERS_READ != 0;
        let read = readable.then(|| {
            let path = self.path.display();
            format!(
                "{} {path} ({}) can be read by every user of this machine: `chmod o= {path}`, or in Kubernetes \
                 `defaultMode: 0440` and `fsGroup`",
                self.what, self.setting
            )
        });
        self.replaceable_by(GROUP_WRITE).into_iter().chain(read)
    }

    /// Says who can write to the file, or put another in its place.
    fn replaceable_by(&self, bit: u32) -> Option<String> {
        let who = if bit == GROUP_WRITE { "a group that it is not in" } else { "every user" };
        let may_write = |path: &Path, metadata: &Metadata| {
            let may = metadata.mode() & bit != 0 && (bit == GROUP_WRITE || self.is_reachable());
            let foreign = bit != GROUP_WRITE || !is_own_group(metadata.gid());
            (may && foreign).then(|| path.to_owned())
        };
        let file = self.path.metadata().ok().and_then(|file| may_write(&self.path, &file));
        let folder = || {
            let folder = self.path.parent()?;
            let metadata = folder.metadata().ok().filter(|folder| folder.mode() & STICKY == 0)?;
            may_write(folder, &metadata)
        };
        let (what, setting) = (self.what, self.setting);
        let of_bit = if bit == GROUP_WRITE { "g-w" } else { "o-w" };
        file.or_else(folder).map(|path| {
            let path = path.display();
            format!(
                "{what} ({setting}) can be replaced by others than this process, because {who} can write to \
                 {path}: `chmod {of_bit} {path}`"
            )
        })
    }

    /// Whether every user can reach the folder.
    fn is_reachable(&self) -> bool {
        let mut folders = self.path.ancestors().skip(1);
        folders.all(|folder| mode(folder) & OTHERS_PASS != 0)
    }
}

/// The mode of a file; 0 if there is none.
fn mode(path: &Path) -> u32 {
    path.metadata().map_or(0, |metadata| metadata.mode())
}

/// Whether this process is in a group. The group of root is trusted as well.
fn is_own_group(group: u32) -> bool {
    let others = rustix::process::getgroups().unwrap_or_default();
    group == 0
        || group == rustix::process::getegid().as_raw()
        || others.iter().any(|other| other.as_raw() == group)
}
