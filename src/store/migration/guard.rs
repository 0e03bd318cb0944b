//! The guard: the row that says which run brings the tables up to date, and how far it is.
//!
//! The run that holds the guard changes its row again and again. Another takes it over when it has seen no
//! change for [`PATIENCE`] by its own monotonic clock. So no two clocks are compared, and no connection
//! has to hold a lock while it waits.
//!
//! A run that stood still for longer, because its machine slept or its connection was cut, may find itself
//! beside another. That does no harm:
//!
//! - a step that changes tables or builds an index changes nothing where it was done before (`step`);
//! - a batch of rows, and the record of a whole migration, write the guard's row in their own
//!   transaction and are given up if it is another's by then. So each takes effect once.

use std::fmt;
use std::time::Duration;

use super::super::sql::{self, Statement};
use super::super::{Access, StoreError, Tx, UseCase};
use jeton_oauth::Timestamp;

/// How long the guard's row may stay as it is before another run takes it over.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often the run that holds the guard changes its row.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// Who holds the guard when nobody does.
const NOBODY: &str = "guard";

/// How far the next migration is: nowhere if its version is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The migration.
    pub(super) version: i64,
    /// How many of its steps were done.
    pub(super) steps: usize,
    /// The key up to which the next step has changed rows.
    pub(super) key: String,
}

impl Position {
    /// Reads what [`fmt::Display`] writes; anything else is the beginning.
    fn parse(text: &str) -> Self {
        let (place, key) = text.split_once(' ').unwrap_or((text, ""));
        let read =
            |(version, steps): (&str, &str)| Some((version.parse().ok()?, steps.parse().ok()?));
        let (version, steps) = place.split_once('.').and_then(read).unwrap_or_default();
        Self { version, steps, key: key.to_owned() }
    }

    /// Where that is, for people.
    pub(super) fn place(&self) -> String {
        match self.version {
            0 => "from the beginning of a migration".to_owned(),
            version => format!("after step {} of migration {version}", self.steps),
        }
    }

    /// The position after this step.
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

/// The guard's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    /// The run that holds it.
    holder: String,
    pub(super) position: Position,
    /// Changes as long as that run lives.
    beats: i64,
}

impl Guard {
    pub(super) fn is_free(&self) -> bool {
        self.holder == NOBODY
    }
}

/// Looks at the guard; none was made yet if there is no row.
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

/// Makes the table of migrations.
pub(super) struct MakeTable;

impl UseCase for MakeTable {
    type Outcome = ();
    const ACCESS: Access = Access::Definition;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.execute(&sql::CREATE_MIGRATION_TABLE, &[]).await.map(|_| ())
    }
}

/// Makes the guard's row.
pub(super) struct MakeGuard {
    pub(super) now: Timestamp,
}

impl UseCase for MakeGuard {
    type Outcome = ();
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.execute(&sql::INSERT_MIGRATION_GUARD, &[self.now.into()]).await.map(|_| ())
    }
}

/// Takes the guard, if it is still as it was seen; whether that succeeded. Programs from before steps hold the
/// row in one long transaction, so it is waited for like a table that is changed.
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

/// What the run that holds the guard does with it; whether it still held it.
pub(super) struct KeepGuard {
    pub(super) runner: String,
    pub(super) act: Act,
}

/// An act of the run that holds the guard.
pub(super) enum Act {
    /// It lives.
    Renew,
    /// A step was done.
    Record(Position),
    /// It ends.
    Release,
}

impl UseCase for KeepGuard {
    type Outcome = bool;
    const ACCESS: Access = Access::Write;

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

/// Writes how far the migration is, if the run still holds the guard. Until the transaction ends nobody
/// else takes it.
async fn record(tx: &mut Tx<'_>, runner: &str, position: &Position) -> Result<bool, StoreError> {
    let values = [runner.into(), (&position.to_string()).into()];
    Ok(tx.execute(&sql::RECORD_MIGRATION_STEP, &values).await? == 1)
}

/// Records that a migration was done; whether the run still held the guard.
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

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        if !record(tx, &self.runner, &Position::default()).await? {
            return Ok(false);
        }
        let values =
            [self.version.into(), self.name.into(), (&self.checksum).into(), self.now.into()];
        tx.execute(&sql::INSERT_MIGRATION, &values).await.map(|_| true)
    }
}

/// What came of a batch of rows.
pub(super) enum Batch {
    /// Another run holds the guard: nothing was changed.
    Lost,
    /// There are no rows after the position.
    Finished,
    /// Rows were looked at, of which so many were changed; the position is after them now.
    Done { changed: u64, position: Position },
}

/// Changes the next rows of a table.
pub(super) struct ChangeRows {
    pub(super) runner: String,
    pub(super) position: Position,
    pub(super) next: Statement,
    pub(super) change: Statement,
}

impl UseCase for ChangeRows {
    type Outcome = Batch;
    const ACCESS: Access = Access::LongTransaction;

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
