//! The second clock: the database server's, or the latest date that was recorded.

use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::Timestamp;

/// Reads the clock of the database server: milliseconds since the Unix epoch. Only on PostgreSQL.
#[derive(Debug)]
pub(super) struct ReadDatabaseClock;

impl UseCase for ReadDatabaseClock {
    type Outcome = i64;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        let rows = tx.query(&sql::READ_DATABASE_CLOCK, &[]).await?;
        let none = || StoreError::Corrupt("the database told no time".to_owned());
        rows.first().ok_or_else(none)?.get("milliseconds")
    }
}

/// Reads the latest date that a replica recorded; `None` if none has.
#[derive(Debug)]
pub struct ReadClock;

impl UseCase for ReadClock {
    type Outcome = Option<Timestamp>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
        let rows = tx.query(&sql::READ_CLOCK, &[]).await?;
        rows.first().map(|row| row.get("seen_at")).transpose()
    }
}

/// Records a date unless a later one is recorded, and returns the recorded one.
#[derive(Debug)]
pub struct RecordClock {
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for RecordClock {
    type Outcome = Timestamp;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Timestamp, StoreError> {
        let rows = tx.query(&sql::RECORD_CLOCK, &[self.now.into()]).await?;
        rows.first().map_or(Ok(self.now), |row| row.get("seen_at"))
    }
}

/// Replaces a recorded date that was wrong by an earlier one.
#[derive(Debug)]
pub struct CorrectClock {
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for CorrectClock {
    type Outcome = ();
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.execute(&sql::CORRECT_CLOCK, &[self.now.into()]).await.map(|_| ())
    }
}
