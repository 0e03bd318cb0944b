//! Migrations: numbered scripts, applied once each, recorded with a checksum.
//!
//! Each statement of a script is a step (`step`). It is run by itself without a time limit, and recorded, so that the
//! next run continues after an interruption. Many replicas may start at once: one works (`run`) while the others wait
//! for one row (`guard`). If the tables are up to date nothing is changed, so the database role needs no right to
//! change tables.
//!
//! Most migrations only expand: older programs can go on with the tables. One that contracts says with which migration
//! the programs begin that can. The run then closes the [gate](super::gate) to those before it changes anything. So a
//! program can work with newer tables as long as the gate does not say otherwise.

mod contraction;
mod guard;
mod run;
mod step;
mod waiting;

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::sleep;

use super::gate::{ClosedFor, ReadGate};
use super::{Access, Engine, Stop, Store, StoreError, Tx, UseCase, sql, stopped};
use contraction::Contraction;
use guard::Guard;
use jeton_oauth::Timestamp;
use jeton_runtime::clock::Clock;
use run::{Trouble, Worker};
use step::Step;
use waiting::Waiting;

/// How often a waiting run reads the guard.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct Migration {
    version: i64,
    name: &'static str,
    script: &'static str,
    contraction: Contraction,
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
    ($($version:literal $name:literal $file:literal $({ $($from:ident: $known:literal),+ })?,)+) => {
        &[$(Migration {
            version: $version,
            name: $name,
            script: include_str!(concat!("../../../sql/migrations/", $file, ".sql")),
            contraction: Contraction { $($($from: $known,)+)? ..Contraction::EXPANDS },
        },)+]
    };
}

/// All scripts by version, without a gap. One that contracts has `{ writers_from: 12 }` or `{ writers_from: 12,
/// readers_from: 11 }` behind it.
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
    12 "imports" "0012_imports",
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
    runner: String,
    /// For the dates of migrations.
    clock: &'a Clock,
    /// Receives a line about the progress once a second.
    say: &'a (dyn Fn(&str) + Send + Sync),
    /// Stops the run. Another one can continue it.
    stop: Stop,
    /// What is applied.
    migrations: &'static [Migration],
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Run").field("runner", &self.runner).finish_non_exhaustive()
    }
}

impl<'a> Run<'a> {
    /// A run that reports no progress and is never stopped. `runner` is a name that no other run has, `clock` dates the
    /// migrations.
    #[must_use]
    pub fn new(runner: String, clock: &'a Clock) -> Self {
        let stop = watch::channel(false).1;
        Self { runner, clock, say: &|_| {}, stop, migrations: MIGRATIONS }
    }

    /// The same, which says once a second how far it is.
    #[must_use]
    pub fn saying(self, say: &'a (dyn Fn(&str) + Send + Sync)) -> Self {
        Self { say, ..self }
    }

    /// The same, which `stop` stops. Another run can continue it.
    #[must_use]
    pub fn until(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

/// The version of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The newest applied migration; 0 for an empty database. It can be one of a newer program.
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
    /// Whether no migration of this program is missing.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.applied >= self.known
    }

    /// Whether they have a gate, which says why they take no changes ([`gate`](crate::gate)).
    #[must_use]
    pub fn has_gate(&self) -> bool {
        self.applied >= GATE_MADE
    }

    /// Whether a newer program has migrated them.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        self.applied > self.known
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
    /// A newer program has changed the tables so that this one cannot read them.
    #[error(
        "its tables can be read only by a jeton that knows version {needed} of them, and this one knows only up to \
         {known}: use the newer jeton again, or go back to the backup from before the upgrade (`jeton db restore`, \
         `pg_restore`), which undoes everything since"
    )]
    TooNew {
        /// The migration that a program must know.
        needed: i64,
        /// The newest migration of this program.
        known: i64,
    },
    /// The newer migrations do not follow those of this program.
    #[error(
        "migration {version} ({name}) was never applied, although {newest} was: use the jeton that the database was \
         made with"
    )]
    Missing {
        /// The version of the first that is missing.
        version: i64,
        /// Its name.
        name: &'static str,
        /// The newest applied migration.
        newest: i64,
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
    status_for(store, MIGRATIONS).await
}

async fn status_for(
    store: &Store,
    migrations: &[Migration],
) -> Result<SchemaStatus, MigrationError> {
    let applied = match store.perform(ListMigrations).await {
        // A database without the table has had no migration.
        Err(StoreError::NoTable(_)) if sees_all_tables(store).await? => Vec::new(),
        Err(error @ (StoreError::NoTable(_) | StoreError::Forbidden(_))) => {
            return Err(MigrationError::Unreadable(error));
        }
        applied => applied?,
    };
    let status = check(&applied, migrations)?;
    if status.has_gate()
        && let Some(closure) = store.perform(ReadGate).await?
        && closure.reason == ClosedFor::Unreadable
    {
        let (needed, known) = (closure.closed_below, status.known);
        return Err(MigrationError::TooNew { needed, known });
    }
    Ok(status)
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
    let mut waiting = Waiting::new(store, run);
    loop {
        let before = status_for(store, run.migrations).await?;
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
    let mut waiting = Waiting::new(store, run);
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
    for migration in worker.run.migrations {
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

/// Compares the applied migrations with those of this program. If there are newer ones, it must know all others.
fn check(
    applied: &[(i64, String)],
    migrations: &[Migration],
) -> Result<SchemaStatus, MigrationError> {
    let known = migrations.last().map_or(0, |migration| migration.version);
    let newest = applied.iter().map(|(version, _)| *version).max().unwrap_or(0);
    for &Migration { version, name, .. } in migrations.iter().filter(|_| newest > known) {
        if applied.iter().all(|(applied, _)| *applied != version) {
            return Err(MigrationError::Missing { version, name, newest });
        }
    }
    for own in migrations {
        let recorded = applied.iter().find(|(version, _)| *version == own.version);
        if recorded.is_some_and(|(_, checksum)| *checksum != own.checksum()) {
            return Err(MigrationError::OtherText { version: own.version, name: own.name });
        }
    }
    Ok(SchemaStatus { applied: newest, known })
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
        let check = |applied: &[_]| check(applied, MIGRATIONS);
        assert_eq!(check(&[]).map(|status| status.applied), Ok(0));
        assert_eq!(check(&[right]).map(|status| status.applied), Ok(1));
        assert!(
            check(&[(1, "other".to_owned())])
                .is_err_and(|error| error.to_string().contains("another text"))
        );
        let mut all: Vec<_> = MIGRATIONS.iter().map(|own| (own.version, own.checksum())).collect();
        all.push((99, String::new()));
        assert!(check(&all).is_ok_and(|status| status.is_newer() && status.is_up_to_date()));
        all.remove(3);
        assert!(check(&all).is_err_and(|error| error.to_string().contains("migration 4 (lots)")));
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
