//! The guard: the row that says which run migrates the tables, and how far it is.
//!
//! The run that holds the guard changes its row every few seconds. Another run takes it over after it has seen no
//! change for [`PATIENCE`] by its own monotonic clock. So no clocks are compared, and no connection holds a lock
//! meanwhile.
//!
//! A run that was suspended for longer, because its machine slept or its connection broke, may find that another one
//! has taken over. That does no harm:
//!
//! - a step that changes tables or builds an index does nothing if it was done before (`step`);
//! - a batch of rows, and the record of a migration, write the guard's row in their own transaction and are undone if
//!   another run holds it. So each takes effect once.

use std::fmt;
use std::time::Duration;

use super::super::sql::{self, Statement};
use super::super::{Access, StoreError, Tx, UseCase};
use jeton_oauth::Timestamp;

/// After how long without a change another run takes the guard over.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often the run that holds the guard changes its row.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// The holder of a free guard.
const FREE: &str = "guard";

/// How far the next migration is. Version 0 is the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) version: i64,
    /// How many of its steps are done.
    pub(super) steps: usize,
    /// The key up to which the next step has changed rows.
    pub(super) key: String,
}

impl Position {
    /// Parses what [`fmt::Display`] writes. Any other text is the beginning.
    fn parse(text: &str) -> Self {
        let (place, key) = text.split_once(' ').unwrap_or((text, ""));
        let read =
            |(version, steps): (&str, &str)| Some((version.parse().ok()?, steps.parse().ok()?));
        let (version, steps) = place.split_once('.').and_then(read).unwrap_or_default();
        Self { version, steps, key: key.to_owned() }
    }

    /// The position in words.
    pub(super) fn place(&self) -> String {
        match self.version {
            0 => "from the beginning of a migration".to_owned(),
            version => format!("after step {} of migration {version}", self.steps),
        }
    }

    pub(super) fn after_step(&self) -> Self {
        Self { version: self.version, steps: self.steps + 1, key: String::new() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            0 => Ok(()),
            version => write!(formatter, "{version}.{} {}", self.steps, self.key),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    holder: String,
    pub(super) position: Position,
    /// Changes while that run lives.
    beats: i64,
}

impl Guard {
    pub(super) fn is_free(&self) -> bool {
        self.holder == FREE
    }
}

/// Reads the guard; `None` if its row was never made.
pub(super) struct FindGuard;

impl UseCase for FindGuard {
    type Outcome = Option<Guard>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        let rows = tx.query(&sql::FIND_MIGRATION_GUARD, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let position = Position::parse(&row.get::<String>("checksum")?);
        Ok(Some(Guard { holder: row.get("name")?, position, beats: row.get("applied_at")? }))
    }
}

pub(super) struct MakeTable;

impl UseCase for MakeTable {
    type Outcome = ();
    const ACCESS: Access = Access::Definition;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.execute(&sql::CREATE_MIGRATION_TABLE, &[]).await.map(|_| ())
    }
}

pub(super) struct MakeGuard {
    pub(super) now: Timestamp,
}

impl UseCase for MakeGuard {
    type Outcome = ();
    const ACCESS: Access = Access::Write;
    const PASSES_CLOSED_GATE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.execute(&sql::INSERT_MIGRATION_GUARD, &[self.now.into()]).await.map(|_| ())
    }
}

/// Takes the guard if it has not changed since it was read. Returns whether it did. Older programs hold the row in one
/// long transaction, so this waits for it like a change of tables.
pub(super) struct TakeGuard {
    pub(super) runner: String,
    pub(super) seen: Guard,
}

impl UseCase for TakeGuard {
    type Outcome = bool;
    const ACCESS: Access = Access::Definition;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let seen = &self.seen;
        let values = [(&self.runner).into(), (&seen.holder).into(), seen.beats.into()];
        Ok(tx.execute(&sql::TAKE_MIGRATION_GUARD, &values).await? == 1)
    }
}

/// Changes the guard for the run that holds it. Returns `false` if it no longer does.
pub(super) struct KeepGuard {
    pub(super) runner: String,
    pub(super) act: Act,
}

pub(super) enum Act {
    /// The run is alive.
    Renew,
    /// A step is done.
    Record(Position),
    /// The run ends.
    Release,
}

impl UseCase for KeepGuard {
    type Outcome = bool;
    const ACCESS: Access = Access::Write;
    const PASSES_CLOSED_GATE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let runner = (&self.runner).into();
        let kept = match &self.act {
            Act::Renew => tx.execute(&sql::RENEW_MIGRATION_GUARD, &[runner]).await?,
            Act::Record(position) => return record(tx, &self.runner, position).await,
            Act::Release => tx.execute(&sql::RELEASE_MIGRATION_GUARD, &[runner]).await?,
        };
        Ok(kept == 1)
    }
}

/// Stores how far the migration is, if the run still holds the guard, and keeps it until the transaction ends.
async fn record(tx: &mut Tx<'_>, runner: &str, position: &Position) -> Result<bool, StoreError> {
    let values = [runner.into(), (&position.to_string()).into()];
    Ok(tx.execute(&sql::RECORD_MIGRATION_STEP, &values).await? == 1)
}

/// Records that a migration is complete. Returns `false` if the run no longer holds the guard.
pub(super) struct RecordMigration {
    pub(super) runner: String,
    pub(super) version: i64,
    pub(super) name: &'static str,
    pub(super) checksum: String,
    pub(super) now: Timestamp,
}

impl UseCase for RecordMigration {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;
    const PASSES_CLOSED_GATE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        if !record(tx, &self.runner, &Position::default()).await? {
            return Ok(false);
        }
        let values =
            [self.version.into(), self.name.into(), (&self.checksum).into(), self.now.into()];
        tx.execute(&sql::INSERT_MIGRATION, &values).await.map(|_| true)
    }
}

pub(super) enum Batch {
    /// Another run holds the guard, and nothing was changed.
    Lost,
    /// There are no rows after the position.
    Finished,
    /// `changed` rows were changed; `position` is after the batch.
    Done { changed: u64, position: Position },
}

pub(super) struct ChangeRows {
    pub(super) runner: String,
    pub(super) position: Position,
    pub(super) next: Statement,
    pub(super) change: Statement,
}

impl UseCase for ChangeRows {
    type Outcome = Batch;
    const ACCESS: Access = Access::LongTransaction;
    const PASSES_CLOSED_GATE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Batch, StoreError> {
        let begin = (&self.position.key).into();
        let rows = tx.query(&self.next, std::slice::from_ref(&begin)).await?;
        let last: Option<Option<String>> =
            rows.first().map(|row| row.get("last_key")).transpose()?;
        let Some(key) = last.flatten() else { return Ok(Batch::Finished) };
        let end = (&key).into();
        let position = Position { key, ..self.position.clone() };
        if !record(tx, &self.runner, &position).await? {
            return Ok(Batch::Lost);
        }
        let changed = tx.execute(&self.change, &[begin, end]).await?;
        Ok(Batch::Done { changed, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for key in ["", "a", "a b"] {
            let position = Position { version: 4, steps: 12, key: key.to_owned() };
            assert_eq!(Position::parse(&position.to_string()), position);
        }
        assert_eq!(Position::default().to_string(), "");
        for text in ["", "guard", "4", "4.", "x.y z"] {
            assert_eq!((Position::parse(text).version, Position::parse(text).steps), (0, 0));
        }
    }
}
