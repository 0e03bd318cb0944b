//! What every import takes, whatever its source is.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::cli::{open_store, open_store_if_made};
use crate::config::{AdministeredDatabase, HashingSettings, MasterKeySettings};
use jeton_store::Store;

/// What every import takes.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct Options {
    /// Look at everything and store nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Leave out what cannot be taken, and write it to this new file
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(super) skip_bad: Option<PathBuf>,
    /// Wrap hashes that take less than 16 MiB to compute in scrypt, so that none of them is stored as
    /// it is. Takes as long as a login each
    #[arg(long)]
    pub(super) wrap: bool,
    /// Store fast hashes (SHA-1 and its kin, SHA-crypt below 100,000 rounds, phpass, PBKDF2 below 10,000 iterations)
    /// as they are. Otherwise they are wrapped as --wrap does, unless `jeton user seal` seals all hashes
    #[arg(long, conflicts_with = "wrap")]
    pub(super) keep_fast: bool,
    #[command(flatten)]
    pub(super) hashing: HashingSettings,
    #[command(flatten)]
    pub(super) master: MasterKeySettings,
    #[command(flatten)]
    database: AdministeredDatabase,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Options {
    /// The database to import to. A dry run makes none.
    pub(super) async fn store(&self) -> Result<Option<Store>, Failure> {
        if self.dry_run {
            return open_store_if_made(&self.database.settings).await;
        }
        open_store(&self.database).await.map(Some)
    }
}
