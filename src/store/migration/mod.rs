//! Migrations: numbered scripts, applied once each, recorded with a checksum.
//!
//! Each statement of a script is a step (`step`). It is run by itself without a time limit, and recorded, so that the
//! next run continues after an interruption. Many replicas may start at once: one works (`run`) while the others wait
//! for one row (`guard`). If the tables are up to date nothing is changed, so the database role needs no right to
//! change tables.

mod guard;
mod run;
mod step;

use std::convert::Infallible;
use std::fmt;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::sleep;

use super::gate::ReadGate;
use super::{Access, Engine, Stop, Store, StoreError, Tx, UseCase, sql, stopped};
use guard::{FindGuard, Guard, MakeGuard, MakeTable, PATIENCE, TakeGuard};
use jeton_oauth::Timestamp;
use jeton_runtime::clock::Clock;
use run::{Trouble, Worker};
use step::Step;

/// How often a waiting run reads the guard.
const LOOK_EVERY: Duration = Duration::from_millis(500);

struct Migration {
    version: i64,
    name: &'static str,
    script: &'static str,
}

impl Migration {
    fn steps(&self) -> Vec<Step> {
        step::steps(self.script).expect("a test reads all scripts")
    }

    /// The checksum that is recorded: SHA-256 of the script without quotation marks. A script may so be given those that
    /// a newer server needs, because it has reserved a name, and is still the script that was applied elsewhere.
    fn checksum(&self) -> String {
        base16ct::lower::encode_string(&Sha256::digest(self.script.replace('"', "")))
    }
}

macro_rules! migrations {
    ($($version:literal $name:literal $file:literal,)+) => {
        &[$(Migration {
            version: $version,
            name: $name,
            script: include_str!(concat!("../../../sql/migrations/", $file, ".sql")),
        },)+]
    };
}

/// All scripts by version, without a gap.
const MIGRATIONS: &[Migration] = migrations! {
    1 "initial" "0001_initial",
    2 "sessions" "0002_sessions",
    3 "login_throttle" "0003_login_throttle",
    4 "lots" "0004_lots",
    5 "replicas" "0005_replicas",
    6 "clock" "0006_clock",
    7 "last_use_and_temporary_passwords" "0007_last_use_and_temporary_passwords",
    8 "operator_acts" "0008_operator_acts",
    9 "write_gate" "0009_write_gate",
    10 "second_factors" "0010_second_factors",
    11 "recovery" "0011_recovery",
};

/// The scripts of all migrations, in their order.
pub(crate) fn scripts() -> impl Iterator<Item = &'static str> {
    MIGRATIONS.iter().map(|migration| migration.script)
}

/// The migration that made the table of the gate.
const GATE_MADE: i64 = 9;

/// What PostgreSQL gets for each step of each migration: the migration, the number of the step, and its statements.
#[cfg(test)]
pub(crate) fn sent() -> Vec<(&'static str, usize, Vec<String>)> {
    let steps = |migration: &'static Migration| {
        let sent = |(index, step): (usize, Step)| (migration.name, index + 1, step.sent());
        migration.steps().into_iter().enumerate().map(sent)
    };
    MIGRATIONS.iter().flat_map(steps).collect()
}

/// The migration that made the column for the use of clients.
const USES_RECORDED: i64 = 7;

/// Who brings the tables up to date, and how.
pub struct Run<'a> {
    /// A name that no other run has.
    pub runner: String,
    /// For the dates of migrations.
    pub clock: &'a Clock,
    /// Receives a line about the progress once a second.
    pub say: &'a (dyn Fn(&str) + Send + Sync),
    /// Stops the run. Another one can continue it.
    pub stop: Stop,
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Run").field("runner", &self.runner).finish_non_exhaustive()
    }
}

impl<'a> Run<'a> {
    /// A run that reports no progress and is never stopped.
    #[must_use]
    pub fn new(runner: String, clock: &'a Clock) -> Self {
        Self { runner, clock, say: &|_| {}, stop: watch::channel(false).1 }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

/// The version of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The newest applied migration; 0 for an empty database.
    pub applied: i64,
    /// The newest migration of this program.
    pub known: i64,
}

/// The newest migration that this program knows.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// The status of a database that does not exist yet.
#[must_use]
pub fn status_of_nothing() -> SchemaStatus {
    SchemaStatus { applied: 0, known: newest() }
}

impl SchemaStatus {
    /// Whether no migration is missing.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.applied == self.known
    }
}

/// What is wrong with the tables, or with an attempt to bring them up to date, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MigrationError {
    /// The database did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database role may not read which migrations were applied.
    #[error(
        "cannot tell of which version its tables are: {0}; grant the role USAGE on their schema and \
         the right to read schema_migrations"
    )]
    Unreadable(#[source] StoreError),
    /// A newer Jeton made the tables.
    #[error(
        "its tables are of version {version} and this jeton knows only up to {known}: use a newer \
         jeton"
    )]
    TooNew {
        /// The version of the tables.
        version: i64,
        /// The newest migration of this program.
        known: i64,
    },
    /// A script was changed after it was applied.
    #[error(
        "migration {version} ({name}) was applied from another text than this jeton has: use the \
         jeton that the database was made with"
    )]
    OtherText {
        /// Its version.
        version: i64,
        /// Its name.
        name: &'static str,
    },
    /// A step failed. What was done before stays done.
    #[error(
        "cannot bring the tables from version {} to {}: {place}{source}; {}",
        before.applied, before.known, remedy(source)
    )]
    Interrupted {
        /// The status before the run.
        before: SchemaStatus,
        /// The step followed by a colon and a space, or empty.
        place: String,
        /// The cause.
        source: StoreError,
    },
}

fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Forbidden(_) => {
            "run `jeton db migrate` with a role that may create tables and owns those that are there, \
             and then start again"
        }
        _ => "what was done stays done, and the next start or `jeton db migrate` goes on there",
    }
}

/// Reads which migrations were applied.
///
/// # Errors
/// [`MigrationError`], which says what is wrong with the database and what to do.
pub async fn status(store: &Store) -> Result<SchemaStatus, MigrationError> {
    let applied = match store.perform(ListMigrations).await {
        // A database without the table has had no migration.
        Err(StoreError::NoTable(_)) if sees_all_tables(store).await? => Vec::new(),
        Err(error @ (StoreError::NoTable(_) | StoreError::Forbidden(_))) => {
            return Err(MigrationError::Unreadable(error));
        }
        applied => applied?,
    };
    check(&applied)
}

async fn sees_all_tables(store: &Store) -> Result<bool, StoreError> {
    match store.engine {
        Engine::Sqlite(_) => Ok(true),
        Engine::Postgres { .. } => store.perform(HasSchema).await,
    }
}

/// Brings the tables up to date without a time limit. Returns the status, which is older if the run was stopped.
///
/// # Errors
/// [`MigrationError`], which says what is wrong with the database and what to do. What was done stays done.
pub async fn migrate(store: &Store, run: &Run<'_>) -> Result<SchemaStatus, MigrationError> {
    let mut waiting = Waiting { store, run, started: Instant::now(), seen: None };
    loop {
        let before = status(store).await?;
        if before.is_up_to_date() || run.is_stopped() {
            return Ok(before);
        }
        if before.applied >= GATE_MADE && store.perform(ReadGate).await?.is_some() {
            return Err(StoreError::Closed.into());
        }
        let explain = |trouble: Trouble| trouble.explain(before);
        if let Some(guard) = waiting.take_guard().await.map_err(|error| explain(error.into()))? {
            let worker = Worker { store, run };
            // Requested first, so that an interruption does not lose it. New tables contain nothing old.
            let asked = if before.applied == 0 { Ok(()) } else { store.ask_for_rewrite().await };
            let outcome = match asked {
                Ok(()) => work(&worker, &guard).await,
                Err(error) => Err(error.into()),
            };
            worker.release().await;
            outcome.map_err(explain)?;
        } else {
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = stopped(&run.stop) => {}
            }
        }
    }
}

/// Since when the use of clients is recorded: when the migration was applied that made the column for it.
///
/// # Errors
/// [`StoreError`] if the database cannot tell.
pub async fn uses_recorded_since(store: &Store) -> Result<Timestamp, StoreError> {
    store.perform(FindMigration { version: USES_RECORDED }).await
}

/// Finds when a migration was applied.
#[derive(Debug)]
pub(super) struct FindMigration {
    pub(super) version: i64,
}

impl UseCase for FindMigration {
    type Outcome = Timestamp;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Timestamp, StoreError> {
        let rows = tx.query(&sql::FIND_MIGRATION, &[self.version.into()]).await?;
        rows.first().map_or(Ok(Timestamp::default()), |row| row.get("applied_at"))
    }
}

/// Waits as long as another run works, and returns where the tables stand then.
///
/// # Errors
/// [`MigrationError`], which says what is wrong with the database and what to do.
pub async fn wait_for_others(store: &Store, run: &Run<'_>) -> Result<SchemaStatus, MigrationError> {
    let mut waiting = Waiting { store, run, started: Instant::now(), seen: None };
    loop {
        let status = status(store).await?;
        if status.is_up_to_date() {
            return Ok(status);
        }
        let guard = waiting.look().await?;
        if waiting.is_at_rest(&guard) {
            return Ok(status);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Applies the missing migrations, until the guard is lost or the run is stopped.
async fn work(worker: &Worker<'_>, guard: &Guard) -> Result<(), Trouble> {
    // Read again, now that no other run works.
    let applied = worker.store.perform(ListMigrations).await?;
    for migration in MIGRATIONS {
        let is_applied = applied.iter().any(|(version, _)| *version == migration.version);
        if !is_applied && !worker.apply(migration, &guard.position).await? {
            break;
        }
    }
    Ok(())
}

impl Trouble {
    fn explain(self, before: SchemaStatus) -> MigrationError {
        let Self { place, error: source } = self;
        let place = if place.is_empty() { place } else { format!("{place}: ") };
        MigrationError::Interrupted { before, place, source }
    }
}

/// A run that does not hold the guard.
struct Waiting<'a> {
    store: &'a Store,
    run: &'a Run<'a>,
    started: Instant,
    /// The guard as it was last read, and since when it has not changed.
    seen: Option<(Guard, Instant)>,
}

impl Waiting<'_> {
    /// Takes the guard if it is free, or if it has not changed for so long that nobody works.
    async fn take_guard(&mut self) -> Result<Option<Guard>, StoreError> {
        let guard = self.look().await?;
        if self.is_at_rest(&guard) {
            let take = TakeGuard { runner: self.run.runner.clone(), seen: guard.clone() };
            let taken = tokio::select! {
                taken = self.store.perform(take) => taken,
                never = self.keep_saying(&guard) => match never {},
                () = stopped(&self.run.stop) => return Ok(None),
            };
            match taken {
                Ok(true) => return Ok(Some(guard)),
                Ok(false) => {}
                // The holder has locked SQLite.
                Err(StoreError::Unavailable(_)) if !guard.is_free() => {}
                Err(error) => return Err(error),
            }
        }
        self.say(&guard);
        Ok(None)
    }

    fn say(&self, guard: &Guard) {
        (self.run.say)(&format!(
            "another jeton brings the tables up to date, {}: waiting for {} s",
            guard.position.place(),
            self.started.elapsed().as_secs()
        ));
    }

    async fn keep_saying(&self, guard: &Guard) -> Infallible {
        loop {
            sleep(LOOK_EVERY).await;
            self.say(guard);
        }
    }

    /// Whether nobody works: the guard is free, or has not changed for long.
    fn is_at_rest(&self, guard: &Guard) -> bool {
        let seen = self.seen.as_ref().filter(|(seen, _)| seen == guard);
        guard.is_free() || seen.is_some_and(|(_, since)| since.elapsed() >= PATIENCE)
    }

    /// Reads the guard, and remembers since when it has not changed.
    async fn look(&mut self) -> Result<Guard, StoreError> {
        let guard = self.find_guard().await?;
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != guard) {
            self.seen = Some((guard.clone(), Instant::now()));
        }
        Ok(guard)
    }

    async fn find_guard(&self) -> Result<Guard, StoreError> {
        let found = match self.store.perform(FindGuard).await {
            Err(StoreError::NoTable(_)) => {
                // This can fail once if another replica creates the table at the same moment.
                if self.store.perform(MakeTable).await.is_err() {
                    self.store.perform(MakeTable).await?;
                }
                None
            }
            found => found?,
        };
        if let Some(guard) = found {
            return Ok(guard);
        }
        self.store.perform(MakeGuard { now: self.run.clock.now() }).await?;
        let made = self.store.perform(FindGuard).await?;
        made.ok_or_else(|| StoreError::Corrupt("the guard of the migrations is gone".to_owned()))
    }
}

/// Compares the applied migrations with those of this program.
fn check(applied: &[(i64, String)]) -> Result<SchemaStatus, MigrationError> {
    for (version, recorded) in applied {
        let Some(own) = MIGRATIONS.iter().find(|migration| migration.version == *version) else {
            return Err(MigrationError::TooNew { version: *version, known: newest() });
        };
        if *recorded != own.checksum() {
            return Err(MigrationError::OtherText { version: *version, name: own.name });
        }
    }
    let applied = applied.iter().map(|(version, _)| *version).max().unwrap_or(0);
    Ok(SchemaStatus { applied, known: newest() })
}

struct ListMigrations;

impl UseCase for ListMigrations {
    type Outcome = Vec<(i64, String)>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        let rows = tx.query(&sql::LIST_MIGRATIONS, &[]).await?;
        rows.iter().map(|row| Ok((row.get("version")?, row.get("checksum")?))).collect()
    }
}

/// Whether the role may use a PostgreSQL schema of its search path. Without that right, tables seem not to exist.
struct HasSchema;

impl UseCase for HasSchema {
    type Outcome = bool;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let rows = tx.query(&sql::FIND_SCHEMA, &[]).await?;
        let name: Option<Option<String>> =
            rows.first().map(|row| row.get("schema_name")).transpose()?;
        Ok(name.flatten().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_no_gap_and_checksums_are_compared() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(migration.version), Ok(index + 1));
        }
        let right = (1, MIGRATIONS[0].checksum());
        assert_eq!(check(&[]).map(|status| status.applied), Ok(0));
        assert_eq!(check(&[right]).map(|status| status.applied), Ok(1));
        assert!(
            check(&[(1, "other".to_owned())])
                .is_err_and(|error| error.to_string().contains("another text"))
        );
        assert!(
            check(&[(99, String::new())]).is_err_and(|error| error.to_string().contains("newer"))
        );
    }

    #[test]
    fn a_name_in_quotation_marks_is_the_same_script() {
        let released = "0be4ff8b7564f261aabbca98d00390ad02923d1004155cf8e4aa86ca08f0605e";
        assert_eq!(MIGRATIONS[7].checksum(), released);
        assert!(MIGRATIONS[7].script.contains('"'));
    }

    #[test]
    fn every_script_consists_of_steps() {
        for migration in MIGRATIONS {
            let steps = step::steps(migration.script);
            assert!(!steps.expect(migration.name).is_empty(), "{}", migration.name);
        }
    }
}
