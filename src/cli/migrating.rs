//! Bringing the tables up to date, and telling whoever waits for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Failure, output};
use crate::config::DatabaseSettings;
use jeton_crypto::random;
use jeton_runtime::clock::Clock;
use jeton_store::migration::{self, MigrationError, Run, SchemaStatus};
use jeton_store::{Stop, Store};

/// How often the log, and standard error that is no terminal, say how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Brings the tables up to date when the service starts, and says in the log how far that is.
pub(super) async fn for_service(
    store: &Store,
    clock: &Clock,
    stop: Stop,
) -> Result<SchemaStatus, MigrationError> {
    let before = migration::status(store).await?;
    if before.is_up_to_date() {
        return Ok(before);
    }
    let SchemaStatus { applied, known } = before;
    tracing::info!("the tables are at version {applied}: bringing them to {known}");
    let say = seldom(|progress| tracing::info!("bringing the tables up to date: {progress}"));
    let run = Run::new(random::token_id(), clock).saying(&say).until(stop);
    let after = migration::migrate(store, &run).await?;
    tracing::info!("the tables are at version {}", after.applied);
    Ok(after)
}

/// Brings the tables up to date for the person at the terminal, or for whoever reads standard error.
pub(super) async fn for_person(store: &Store, stop: Stop) -> Result<SchemaStatus, MigrationError> {
    let say = say_to_person();
    let run = Run::new(random::token_id(), &Clock::System).saying(&say).until(stop);
    let before = migration::status(store).await?;
    let after = migration::migrate(store, &run).await;
    if !before.is_up_to_date() {
        output::end_progress();
    }
    after
}

/// Says how far something is: to a person in one line, to others in a line now and then.
pub(super) fn say_to_person() -> impl Fn(&str) + Send + Sync {
    let line = seldom(output::error_line);
    move |progress| {
        if output::is_interactive() {
            output::progress(progress);
        } else {
            line(progress);
        }
    }
}

/// Makes the tables of a new database for a command. If another process makes them at this moment, it is
/// waited for; a database that is in use is left as it is.
pub(super) async fn for_command(store: &Store) -> Result<SchemaStatus, MigrationError> {
    let run = Run::new(random::token_id(), &Clock::System);
    if migration::status(store).await?.applied == 0 {
        return migration::migrate(store, &run).await;
    }
    migration::wait_for_others(store, &run).await
}

/// Requires tables that are up to date.
pub(super) fn require_up_to_date(
    settings: &DatabaseSettings,
    status: SchemaStatus,
) -> Result<(), Failure> {
    if status.is_up_to_date() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the database {} (--database) is at version {} and this jeton needs {}: run `jeton db migrate`, \
         or start the service",
        settings.database, status.applied, status.known
    )))
}

/// Says in one sentence that a newer program has changed the tables; nothing if none has.
pub(super) fn newer_tables(status: SchemaStatus) -> Option<String> {
    let SchemaStatus { applied, known } = status;
    status.is_newer().then(|| {
        format!(
            "The tables are of version {applied}, which a newer jeton has made. This one knows them up to {known} and \
             goes on with them."
        )
    })
}

/// Says something at most every few seconds, and not in the first ones.
fn seldom(say: impl Fn(&str) + Send + Sync) -> impl Fn(&str) + Send + Sync {
    let said_at = Mutex::new(Instant::now());
    move |text| {
        let mut said_at = said_at.lock().unwrap_or_else(PoisonError::into_inner);
        if said_at.elapsed() >= SAY_EVERY {
            *said_at = Instant::now();
            say(text);
        }
    }
}
