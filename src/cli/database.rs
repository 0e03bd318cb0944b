//! `jeton db`: the tables.

use clap::Subcommand;
use serde::Serialize;

use super::serve::stop_signal;
use super::{Failure, in_database, migrating, open_existing_store, output};
use crate::clock::Clock;
use crate::config::{DatabaseLocation, DatabaseSettings};
use crate::endpoint::housekeeping::{delete_expired_sessions, delete_expired_tallies};
use crate::store::migration::SchemaStatus;
use crate::store::sessions::CountExpiredSessions;
use crate::store::{Store, migration};

/// The commands of `jeton db`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Bring the tables up to date, however long that takes; `jeton serve` does it too
    ///
    /// The service of the previous version may run meanwhile. What was interrupted is taken up where it was
    /// when this command or the service is started again. No other command migrates a database that is in
    /// use; `jeton user add`, `user import`, `client add` and `key import` make the tables of a new one.
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
}

#[derive(Serialize)]
struct Status {
    applied: i64,
    known: i64,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Migrate { database } => {
            let stop = stop_signal()?;
            let store = Store::open(&database.database).await?;
            let status = migrating::for_person(&store, stop).await;
            let status = status.map_err(|problem| in_database(&database, &problem))?;
            if !status.is_up_to_date() {
                return Err(Failure(format!(
                    "told to stop: the tables are at version {} of {}; `jeton db migrate` or a start \
                     of the service goes on where this was",
                    status.applied, status.known
                )));
            }
            output::line(&format!("The tables are at version {}.", status.applied));
        }
        Command::Status { database, json } => {
            let status = look(&database).await?;
            if json {
                output::json(&Status { applied: status.applied, known: status.known });
            } else if status.is_up_to_date() {
                output::line(&format!("The tables are up to date, at version {}.", status.applied));
            } else {
                output::line(&format!(
                    "The tables are at version {} and this jeton needs {}: run `jeton db migrate`.",
                    status.applied, status.known
                ));
            }
        }
        Command::Purge { database } => purge(&open_existing_store(&database).await?).await?,
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
async fn look(settings: &DatabaseSettings) -> Result<SchemaStatus, Failure> {
    if let DatabaseLocation::Sqlite(path) = &settings.database
        && !path.exists()
    {
        return Ok(migration::status_of_nothing());
    }
    let store = Store::open(&settings.database).await?;
    migration::status(&store).await.map_err(|problem| in_database(settings, &problem))
}
