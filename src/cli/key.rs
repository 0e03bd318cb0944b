//! `jeton key`: the keys that tokens depend on.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Failure, open_existing_store, output};
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::endpoint::keys::rotate_refresh_key;

/// The commands of `jeton key`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a new key; the one before goes on verifying what it made
    Rotate {
        /// The key that refresh tokens are derived with
        #[arg(long, required = true)]
        refresh: bool,
        /// The file of the master key; repeatable: the first seals, all open
        #[arg(
            long,
            env = "JETON_MASTER_KEY_FILE",
            default_value = "keys/master.jwk",
            value_delimiter = ',',
            value_name = "PATH"
        )]
        master_key_file: Vec<PathBuf>,
        #[command(flatten)]
        database: DatabaseSettings,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Rotate { refresh: _, master_key_file, database } = command;
    let store = open_existing_store(&database).await?;
    let now = Clock::System.now();
    let (kid, activates_at) = rotate_refresh_key(&store, now, &master_key_file).await?;
    output::line(&format!(
        "The refresh key {kid} was made. Refresh tokens are derived with it from {activates_at} on; \
         those that clients have stay good."
    ));
    Ok(())
}
