//! `jeton db`: the tables.

use clap::Subcommand;
use serde::Serialize;

use super::{Failure, backup, open_existing_store, open_store, output, restore};
use crate::clock::Clock;
use crate::config::{DatabaseLocation, DatabaseSettings};
use crate::endpoint::housekeeping::{delete_expired_sessions, delete_expired_tallies};
use crate::store::migration::SchemaStatus;
use crate::store::sessions::CountExpiredSessions;
use crate::store::{Store, migration};

/// The commands of `jeton db`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Bring the tables up to date; `jeton serve` does it too
    Migrate {
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Show which migrations were applied, and change nothing
    Status {
        #[command(flatten)]
        database: DatabaseSettings,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete expired sessions and forgotten failures; `jeton serve` does it too, once a minute
    Purge {
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Copy a SQLite database that may be in use, and check the copy
    Backup(backup::Options),
    /// Put a copy in the place of a SQLite database, and keep the one before beside it
    Restore(restore::Options),
}

#[derive(Serialize)]
struct Status {
    applied: i64,
    known: i64,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Migrate { database } => {
            let store = open_store(&database).await?;
            let status = migration::status(&store).await?;
            output::line(&format!("The tables are at version {}.", status.applied));
        }
        Command::Status { database, json } => {
            let status = look(&database.database).await?;
            if json {
                output::json(&Status { applied: status.applied, known: status.known });
            } else if status.applied == status.known {
                output::line(&format!("The tables are up to date, at version {}.", status.applied));
            } else {
                output::line(&format!(
                    "The tables are at version {} and this jeton needs {}: run `jeton db migrate`.",
                    status.applied, status.known
                ));
            }
        }
        Command::Purge { database } => purge(&open_existing_store(&database).await?).await?,
        Command::Backup(options) => backup::run(options).await?,
        Command::Restore(options) => restore::run(options).await?,
    }
    Ok(())
}

/// Deletes what has expired, and shows on a terminal how far it is.
async fn purge(store: &Store) -> Result<(), Failure> {
    let now = Clock::System.now();
    let expired = store.perform(CountExpiredSessions { now }).await?;
    let show = |deleted| {
        output::progress(&format!("Deleted {deleted} of {expired} expired sessions"));
    };
    let deleted = delete_expired_sessions(store, now, show).await;
    output::end_progress();
    output::line(&format!("Deleted {} expired sessions.", deleted?));
    let tallies = delete_expired_tallies(store, now).await?;
    output::line(&format!("Deleted {tallies} counters of failed logins that were forgotten."));
    Ok(())
}

/// Where the tables stand. A file that is not there yet is not made.
async fn look(location: &DatabaseLocation) -> Result<SchemaStatus, Failure> {
    if let DatabaseLocation::Sqlite(path) = location
        && !path.exists()
    {
        return Ok(migration::status_of_nothing());
    }
    let store = Store::open(location).await?;
    let status = migration::status(&store).await;
    Ok(status.map_err(|problem| format!("the database {location} (--database): {problem}"))?)
}
