//! Failure counters, shared by all replicas.

use super::operator_acts::{Act, Deed};
use super::users::User;
use super::value::{FromValue, Row, Value};
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::throttle::{Counted, CounterName, FAILURES_MAX, FORGET, FailureCounter, WAIT_MAX};
use jeton_oauth::{Invalid, Seconds, Timestamp};

impl From<CounterName> for Value {
    fn from(name: CounterName) -> Self {
        Self::Octets(name.0.to_vec())
    }
}

impl FromValue for CounterName {
    fn from_value(value: &Value) -> Result<Self, Invalid> {
        let name = Vec::from_value(value)?.try_into();
        name.map(Self).map_err(|_| Invalid::new("the name of a counter is cut"))
    }
}

fn read_counter(row: &Row) -> Result<(CounterName, FailureCounter), StoreError> {
    let counter = FailureCounter {
        failures: row.get("failures")?,
        failed_at: row.get("failed_at")?,
        forgotten_at: row.get("forgotten_at")?,
        succeeded_at: row.get("succeeded_at")?,
    };
    Ok((row.get("counter")?, counter))
}

/// Finds a counter. One without a row is all zeros.
#[derive(Debug)]
pub struct FindCounter(pub CounterName);

impl UseCase for FindCounter {
    type Outcome = FailureCounter;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<FailureCounter, StoreError> {
        let rows = tx.query(&sql::FIND_COUNTER, &[self.0.into()]).await?;
        let found = rows.first().map(read_counter).transpose()?;
        Ok(found.map(|(_, counter)| counter).unwrap_or_default())
    }
}

/// Finds the six counters of a login. One without a row is all zeros.
#[derive(Debug)]
pub struct FindCounters(pub [CounterName; 6]);

impl UseCase for FindCounters {
    type Outcome = [FailureCounter; 6];
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<[FailureCounter; 6], StoreError> {
        let rows = tx.query(&sql::FIND_COUNTERS, &self.0.map(Value::from)).await?;
        let found: Vec<_> = rows.iter().map(read_counter).collect::<Result<_, _>>()?;
        let of = |name| found.iter().find(|(other, _)| *other == name).map(|(_, counter)| *counter);
        Ok(self.0.map(|name| of(name).unwrap_or_default()))
    }
}

/// A failure to count.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// The counter.
    pub counter: CounterName,
    /// For a counter of an account at one origin: the account's own counter.
    pub account: Option<CounterName>,
    /// Failures before this are forgotten.
    pub since: Timestamp,
    /// How long the row is kept.
    pub kept_for: Seconds,
}

/// Counts failures.
#[derive(Debug)]
pub struct CountFailures {
    /// One failure for each counter.
    pub failures: Vec<Failure>,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for CountFailures {
    type Outcome = ();
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for failure in &self.failures {
            let values = [
                failure.counter.into(),
                failure.account.into(),
                self.now.into(),
                FORGET.get().into(),
                failure.since.into(),
                self.now.after(failure.kept_for).into(),
            ];
            tx.execute(&sql::COUNT_FAILURE, &values).await?;
        }
        Ok(())
    }
}

/// Counts failures, and reads what each counter has counted with them. Of those who do it at the same time each sees the
/// failures that were counted before its own, and not those after.
#[derive(Debug)]
pub struct CountAndRead(pub CountFailures);

impl UseCase for CountAndRead {
    type Outcome = Vec<FailureCounter>;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<FailureCounter>, StoreError> {
        // Who counts the same waits from here on, until this transaction has ended.
        self.0.run(tx).await?;
        let mut counted = Vec::new();
        for failure in &self.0.failures {
            counted.push(FindCounter(failure.counter).run(tx).await?);
        }
        Ok(counted)
    }
}

/// Takes back failures that were counted before they could have happened.
#[derive(Debug)]
pub struct TakeFailuresBack(pub Vec<CounterName>);

impl UseCase for TakeFailuresBack {
    type Outcome = ();
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for counter in &self.0 {
            tx.execute(&sql::TAKE_FAILURE_BACK, &[(*counter).into(), FORGET.get().into()]).await?;
        }
        Ok(())
    }
}

/// A counter that is to be another, if it still is as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Replacement {
    /// The counter.
    pub counter: CounterName,
    /// The counter as it was read.
    pub from: FailureCounter,
    /// What it becomes.
    pub to: FailureCounter,
    /// The earliest moment at which its row may be deleted.
    pub deletable_at: Timestamp,
}

impl Replacement {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let values = [
            self.counter.into(),
            self.to.failures.into(),
            self.to.failed_at.into(),
            self.to.forgotten_at.into(),
            self.from.failures.into(),
            self.from.failed_at.into(),
            self.from.forgotten_at.into(),
            self.deletable_at.into(),
        ];
        Ok(tx.execute(&sql::REPLACE_COUNTER, &values).await? == 1)
    }

    fn reversed(self) -> Self {
        Self { from: self.to, to: self.from, ..self }
    }
}

/// Replaces all of these counters or none; `false` if one has changed since it was read.
#[derive(Debug)]
pub struct ReplaceCounters(pub Vec<Replacement>);

impl ReplaceCounters {
    /// Undoes these replacements.
    #[must_use]
    pub fn reversed(replacements: &[Replacement]) -> Self {
        Self(replacements.iter().map(|replacement| replacement.reversed()).collect())
    }
}

impl UseCase for ReplaceCounters {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        for (done, replacement) in self.0.iter().enumerate() {
            if !replacement.run(tx).await? {
                for earlier in self.0.iter().take(done) {
                    earlier.reversed().run(tx).await?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Records a login of an account from an origin, which is known from now on. Failures there are no longer in a row. The
/// account's wait for unknown callers stays.
#[derive(Debug)]
pub struct RecordOrigin {
    /// The counter of the account at its origin.
    pub at_origin: CounterName,
    /// The counter of the account.
    pub account: CounterName,
    /// The counters whose failures are no longer in a row, beside that at the origin.
    pub no_longer_in_a_row: Vec<CounterName>,
    /// The counters of the origin's groups, and by how much each is reduced.
    pub forgiven: Vec<(CounterName, Seconds)>,
    /// The present moment.
    pub now: Timestamp,
    /// How long the origin stays known.
    pub kept_for: Seconds,
}

impl UseCase for RecordOrigin {
    type Outcome = ();
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        // In the order in which failures are counted, so that two transactions cannot deadlock.
        for (group, span) in &self.forgiven {
            let values = [(*group).into(), span.get().into(), self.now.into()];
            tx.execute(&sql::FORGIVE_ORIGIN, &values).await?;
        }
        for counter in &self.no_longer_in_a_row {
            tx.execute(&sql::FORGIVE_FAILURES, &[(*counter).into()]).await?;
        }
        let deletable_at = self.now.after(self.kept_for);
        let values =
            [self.at_origin.into(), self.account.into(), self.now.into(), deletable_at.into()];
        tx.execute(&sql::RECORD_ORIGIN, &values).await?;
        Ok(())
    }
}

/// Lists the counters of an account: its own, and those at each origin.
#[derive(Debug)]
pub struct ListCountersOfAccount(pub CounterName);

impl UseCase for ListCountersOfAccount {
    type Outcome = Vec<(CounterName, FailureCounter)>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<(CounterName, FailureCounter)>, StoreError> {
        let rows = tx.query(&sql::LIST_COUNTERS_OF_ACCOUNT, &[self.0.into()]).await?;
        rows.iter().map(read_counter).collect()
    }
}

/// Lists the counters by which a login of an account may be refused at a moment: the name of each, that of the account
/// if it counts the account at one origin, and what it has counted.
#[derive(Debug)]
pub struct ListWaitingCounters {
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for ListWaitingCounters {
    type Outcome = Vec<(CounterName, Option<CounterName>, FailureCounter)>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        let remembered = Seconds::new((Counted::Account.free() - 1) * FORGET.get());
        let waits_since = self.now.0.saturating_sub(WAIT_MAX.get());
        let values = [FAILURES_MAX.into(), self.now.after(remembered).into(), waits_since.into()];
        let rows = tx.query(&sql::LIST_WAITING_COUNTERS, &values).await?;
        let read = |row: &Row| {
            let (name, counter) = read_counter(row)?;
            Ok((name, row.get("account")?, counter))
        };
        rows.iter().map(read).collect()
    }
}

/// Forgets all failures of an account; which origins it knows stays. Returns how many counters that
/// concerned.
#[derive(Debug)]
pub struct UnlockAccount {
    /// The counter of the account.
    pub account: CounterName,
    /// Whose account it is.
    pub user: User,
}

impl UseCase for UnlockAccount {
    type Outcome = u64;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let changed = tx.execute(&sql::UNLOCK_ACCOUNT, &[self.account.into()]).await?;
        if changed > 0 {
            let act = Act::new(Deed::UserUnlocked).on_user(&self.user.username, &self.user.id);
            tx.record(act).await?;
        }
        Ok(changed)
    }
}

/// Deletes some counters that are no longer needed, and returns how many.
#[derive(Clone, Debug)]
pub struct DeleteExpiredCounters {
    /// Rows that could be deleted before this moment.
    pub before: Timestamp,
    /// The most rows that one call changes.
    pub limit: i64,
}

impl UseCase for DeleteExpiredCounters {
    type Outcome = u64;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let values = [self.before.into(), self.limit.into()];
        let deleted = tx.execute(&sql::DELETE_EXPIRED_COUNTERS, &values).await?;
        tx.record(Act::new(Deed::ExpiredCountersDeleted).slice(deleted)).await?;
        Ok(deleted)
    }
}
