//! `jeton db`: the tables.

use clap::Subcommand;
use serde::Serialize;

use super::listing::Width;
use super::serve::stop_signal;
use super::{
    Failure, backup, copy, in_database, migrating, open_existing_store, open_to_read, output,
    reopen, replicas, restore,
};
use crate::config::{AdministeredDatabase, DatabaseSettings};
use jeton_oauth::Timestamp;
use jeton_runtime::clock::Clock;
use jeton_service::agreed_clock::AgreedClock;
use jeton_service::housekeeping::{
    Pace, delete_expired_counters, delete_expired_sessions, delete_old_acts,
};
use jeton_store::clock::ReadClock;
use jeton_store::gate::{ClosedFor, Closure, ReadGate};
use jeton_store::migration::SchemaStatus;
use jeton_store::sessions::CountExpiredSessions;
use jeton_store::{DatabaseLocation, Store, migration};

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
    /// List the processes of `jeton serve` that use this database, and those that did within the last day
    Replicas {
        #[command(flatten)]
        database: DatabaseSettings,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        width: Width,
    },
    /// Delete expired sessions, forgotten failures and old entries of `jeton audit`; `jeton serve` does it too, once a
    /// minute
    Purge {
        #[command(flatten)]
        database: AdministeredDatabase,
    },
    /// Copy a SQLite database that may be in use, and check the copy
    Backup(backup::Options),
    /// Copy everything to another database, of the same engine or the other one, to move there
    ///
    /// The source takes no changes meanwhile, nor after it: the service answers logins and refreshes 503, and goes on
    /// with introspection and its key set. If the copy fails, the source takes changes again.
    Copy(copy::Options),
    /// Let a database that `jeton db copy` has closed take changes again, and so give the copy up
    Reopen(reopen::Options),
    /// Put a copy in the place of a SQLite database, and keep the one before beside it
    Restore(restore::Options),
}

#[derive(Serialize)]
struct Status {
    applied: i64,
    known: i64,
    /// The last date that a replica recorded.
    seen_at: Option<Timestamp>,
    /// Why it takes no changes; `null` if it does.
    closed: Option<Closed>,
}

#[derive(Serialize)]
struct Closed {
    reason: ClosedFor,
    since: Timestamp,
    /// The other database of a copy.
    peer: String,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Migrate { database } => {
            let stop = stop_signal()?;
            let store = Store::open(&database.database).await?;
            let status = migrating::for_person(&store, stop).await;
            let status = status.map_err(|problem| in_database(&database, problem))?;
            if !status.is_up_to_date() {
                return Err(Failure::failed(format!(
                    "told to stop: the tables are at version {} of {}; `jeton db migrate` or a start \
                     of the service goes on where this was",
                    status.applied, status.known
                )));
            }
            output::line(&match migrating::newer_tables(status) {
                Some(newer) => newer + " There is nothing to migrate.",
                None => format!("The tables are at version {}.", status.applied),
            });
        }
        Command::Status { database, json } => {
            let (status, seen_at, closure) = look(&database).await?;
            if json {
                let SchemaStatus { applied, known } = status;
                let closed = closure.map(|Closure { reason, since, peer, .. }| Closed {
                    reason,
                    since,
                    peer,
                });
                output::json(&Status { applied, known, seen_at, closed });
            } else {
                output::line(&if status.is_up_to_date() {
                    migrating::newer_tables(status).unwrap_or_else(|| {
                        format!("The tables are up to date, at version {}.", status.applied)
                    })
                } else {
                    format!(
                        "The tables are at version {} and this jeton needs {}: run `jeton db migrate`.",
                        status.applied, status.known
                    )
                });
                if let Some(seen_at) = seen_at {
                    output::line(&format!(
                        "The last date that a replica recorded here is {seen_at}."
                    ));
                }
                if let Some(closure) = closure {
                    output::line(&reopen::explain(&closure));
                }
            }
        }
        Command::Replicas { database, json, width } => {
            let store = open_to_read(&database).await?;
            replicas::list(&store, json, width).await?;
        }
        Command::Purge { database } => purge(&open_existing_store(&database).await?).await?,
        Command::Backup(options) => backup::run(options).await?,
        Command::Copy(options) => copy::run(options).await?,
        Command::Reopen(options) => reopen::run(options).await?,
        Command::Restore(options) => restore::run(options).await?,
    }
    Ok(())
}

/// Deletes what has expired, and shows on a terminal how far it is.
async fn purge(store: &Store) -> Result<(), Failure> {
    let before = deletable_before(store).await?;
    let expired = store.perform(CountExpiredSessions { before }).await?;
    let show = |deleted| {
        output::progress(&format!("Deleted {deleted} of {expired} expired sessions"));
    };
    let deleted = delete_expired_sessions(store, before, Pace::OtherProcess, show).await;
    output::end_progress();
    output::line(&format!("Deleted {}.", output::counted(deleted?, "expired session")));
    let counters = delete_expired_counters(store, before, Pace::OtherProcess).await?;
    output::line(&format!("Deleted {counters} counters of failed logins that were forgotten."));
    let acts = delete_old_acts(store, before, Pace::OtherProcess).await?;
    output::line(&format!("Deleted {acts} entries of `jeton audit` that were too old."));
    Ok(())
}

/// The date up to which rows may be deleted: a day before now. If the service has not recorded for long what
/// time it is, this clock may be wrong: then a day before the date that was recorded last.
async fn deletable_before(store: &Store) -> Result<Timestamp, Failure> {
    let clock = AgreedClock::open(Clock::System, store.clone()).await?;
    clock.now().map_err(|off| format!("{off}; nothing was deleted"))?;
    if let Some(before) = clock.deletable_before() {
        return Ok(before);
    }
    let before = clock.recorded_deletable_before().unwrap_or_default();
    output::error_line(&format!(
        "Note: `jeton serve` has not run here for more than half a day, so nothing confirms the clock of \
         this machine: only what expired before {before} is deleted."
    ));
    Ok(before)
}

/// Where the tables stand, the last date that a replica recorded, which is how old the database is if it was restored,
/// and why it takes no changes. A file that is not there yet is not made.
async fn look(
    settings: &DatabaseSettings,
) -> Result<(SchemaStatus, Option<Timestamp>, Option<Closure>), Failure> {
    if let DatabaseLocation::Sqlite(path) = &settings.database
        && !path.exists()
    {
        return Ok((migration::status_of_nothing(), None, None));
    }
    let store = Store::open(&settings.database).await?;
    let status =
        migration::status(&store).await.map_err(|problem| in_database(settings, problem))?;
    let closure = if status.has_gate() { store.perform(ReadGate).await? } else { None };
    if !status.is_up_to_date() {
        return Ok((status, None, closure));
    }
    Ok((status, store.perform(ReadClock).await.unwrap_or_default(), closure))
}
