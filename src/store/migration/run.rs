//! A run: does the steps that are left, and reports its progress.

use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::super::gate::CloseToOlder;
use super::super::sql::{self, Statement};
use super::super::{Access, Engine, Stop, Store, StoreError, Tx, UseCase, stopped};
use super::guard::{Act, BEAT, Batch, ChangeRows, KeepGuard, Position, RecordMigration};
use super::step::{Kind, Step};
use super::{Migration, Run};

const SAY_EVERY: Duration = Duration::from_secs(1);
/// How often to check an index that the server is building for an earlier run.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a statement may take to end when the run is stopped.
const GRACE: Duration = Duration::from_secs(5);
/// The pause after a batch of rows is this many times as long as the batch.
const PAUSE_FACTOR: u32 = 3;
/// The shortest pause, which is longer on SQLite for other processes, and the longest.
const PAUSE_BOUNDS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// An error and where it happened.
pub(super) struct Trouble {
    /// The step, or empty.
    pub(super) place: String,
    pub(super) error: StoreError,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self { place: String::new(), error }
    }
}

/// A run that holds the guard.
pub(super) struct Worker<'a> {
    pub(super) store: &'a Store,
    pub(super) run: &'a Run<'a>,
}

impl Worker<'_> {
    /// Completes a migration from `begin` on, and records it. Returns `false` if it was not completed, because another
    /// run took the guard over or the run was stopped.
    pub(super) async fn apply(
        &self,
        migration: &Migration,
        begin: &Position,
    ) -> Result<bool, Trouble> {
        let mut position = Position { version: migration.version, ..Position::default() };
        if begin.version == migration.version {
            position = begin.clone();
        }
        if !self.close_gate(migration).await? {
            return Ok(false);
        }
        let steps = migration.steps();
        while let Some(step) = steps.get(position.steps) {
            let place = format!(
                "step {} of {} of migration {} ({}), {}",
                position.steps + 1,
                steps.len(),
                migration.version,
                migration.name,
                step.what
            );
            let done = self.finish(&place, step, &position).await;
            position = position.after_step();
            let recorded = match done {
                Ok(true) => self.keep(Act::Record(position.clone())).await,
                other => other,
            };
            match recorded {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if self.has_lost_guard().await => {
                    tracing::debug!("{place}: another run went on: {error}");
                    return Ok(false);
                }
                Err(error) => return Err(Trouble { place, error }),
            }
        }
        let record = RecordMigration {
            runner: self.run.runner.clone(),
            version: migration.version,
            name: migration.name,
            checksum: migration.checksum(),
            now: self.run.clock.now(),
        };
        Ok(self.store.perform(record).await?)
    }

    /// Closes the gate to programs that cannot go on with the tables after the migration. Returns `false` if the run was
    /// stopped before.
    async fn close_gate(&self, migration: &Migration) -> Result<bool, Trouble> {
        let closures = migration.contraction.closures(&self.run.runner, self.run.clock.now());
        if closures.is_empty() {
            return Ok(true);
        }
        let place = format!(
            "closing the gate for migration {} ({}): waiting for writes of older programs to end",
            migration.version, migration.name
        );
        let closed = self.attend(&place, self.store.perform(CloseToOlder(closures))).await;
        match closed {
            Ok(closed) => Ok(closed.is_some()),
            Err(error) => Err(Trouble { place, error }),
        }
    }

    pub(super) async fn release(&self) {
        // If this fails, others wait until they see that the guard does not change.
        self.keep(Act::Release).await.ok();
    }

    async fn keep(&self, act: Act) -> Result<bool, StoreError> {
        self.store.perform(KeepGuard { runner: self.run.runner.clone(), act }).await
    }

    async fn has_lost_guard(&self) -> bool {
        matches!(self.keep(Act::Renew).await, Ok(false))
    }

    /// Runs a step. Returns `false` if the run was stopped or the guard was lost.
    async fn finish(&self, place: &str, step: &Step, begin: &Position) -> Result<bool, StoreError> {
        match &step.kind {
            Kind::Definition { statement, settled } => {
                match self.perform(place, Access::Definition, statement).await {
                    Err(StoreError::Refused(detail))
                        if settled.is_some_and(|settled| detail.contains(settled)) =>
                    {
                        Ok(true)
                    }
                    other => other,
                }
            }
            Kind::Index { name, create, drop } => match self.store.engine {
                Engine::Sqlite(_) => self.perform(place, Access::Definition, create).await,
                Engine::Postgres { .. } => self.build_index(place, name, create, drop).await,
            },
            Kind::Rows { next, change } => self.change_rows(place, next, change, begin).await,
        }
    }

    /// Builds an index on PostgreSQL while others write.
    async fn build_index(
        &self,
        place: &str,
        name: &str,
        create: &Statement,
        drop: &Statement,
    ) -> Result<bool, StoreError> {
        let mut was_built = false;
        loop {
            let index = self.store.perform(FindIndex { name: name.to_owned() }).await?;
            let went_on = match index {
                Index::Good => return Ok(true),
                // The statement succeeded because something of this name exists.
                Index::Absent if was_built => {
                    let detail = format!("something that is no index has the name {name}");
                    return Err(StoreError::Refused(detail));
                }
                Index::Absent => {
                    was_built = true;
                    self.perform(place, Access::Statement, create).await?
                }
                // No statement may wait for the build, because the build would wait for that statement in turn.
                Index::Building => {
                    let place = format!("{place}, which an earlier run began");
                    self.attend(&place, self.until_built(name)).await?.is_some()
                }
                Index::Unfinished => {
                    was_built = false;
                    self.perform(place, Access::Statement, drop).await?
                }
            };
            if !went_on {
                return Ok(false);
            }
        }
    }

    async fn until_built(&self, name: &str) -> Result<(), StoreError> {
        loop {
            sleep(LOOK_EVERY).await;
            let index = self.store.perform(FindIndex { name: name.to_owned() }).await?;
            if index != Index::Building {
                return Ok(());
            }
        }
    }

    /// Changes the rows of a table in batches. Each renews the guard.
    async fn change_rows(
        &self,
        place: &str,
        next: &Statement,
        change: &Statement,
        begin: &Position,
    ) -> Result<bool, StoreError> {
        let (mut total, mut position, mut said_at) = (0, begin.clone(), Instant::now());
        while !self.run.is_stopped() {
            let started = Instant::now();
            let batch = ChangeRows {
                runner: self.run.runner.clone(),
                position: position.clone(),
                next: next.clone(),
                change: change.clone(),
            };
            match self.store.perform(batch).await? {
                Batch::Lost => return Ok(false),
                Batch::Finished => return Ok(true),
                Batch::Done { changed, position: reached } => {
                    (total, position) = (total + changed, reached);
                }
            }
            if said_at.elapsed() >= SAY_EVERY {
                (self.run.say)(&format!("{place}: {total} rows"));
                said_at = Instant::now();
            }
            let (least, most) = PAUSE_BOUNDS;
            let least = least.max(self.store.pause_beside());
            sleep((started.elapsed() * PAUSE_FACTOR).clamp(least, most)).await;
        }
        Ok(false)
    }

    /// Runs a statement to its end. Returns `false` if the run was stopped before.
    async fn perform(
        &self,
        place: &str,
        access: Access,
        statement: &Statement,
    ) -> Result<bool, StoreError> {
        if self.run.is_stopped() {
            return Ok(false);
        }
        let (statement, stop) = (statement.clone(), self.run.stop.clone());
        let running = self.store.perform(RunStatement { access, statement, stop });
        Ok(self.attend(place, running).await?.is_some())
    }

    /// Renews the guard and reports progress while `something` runs. `None` if the run is stopped before it has ended.
    async fn attend<T>(
        &self,
        place: &str,
        something: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Option<T>, StoreError> {
        let mut something = pin!(something);
        tokio::select! {
            outcome = &mut something => {
                return match outcome {
                    Err(_) if self.run.is_stopped() => Ok(None),
                    outcome => outcome.map(Some),
                };
            }
            never = self.renew() => match never {},
            never = self.say_how_long(place) => match never {},
            () = stopped(&self.run.stop) => {}
        }
        // The server was asked to cancel it, but it may have ended before.
        Ok(timeout(GRACE, something).await.ok().and_then(Result::ok))
    }

    async fn renew(&self) -> Infallible {
        loop {
            sleep(BEAT).await;
            // If this fails, another run may take over: see `guard`.
            self.keep(Act::Renew).await.ok();
        }
    }

    async fn say_how_long(&self, place: &str) -> Infallible {
        let started = Instant::now();
        loop {
            sleep(SAY_EVERY).await;
            (self.run.say)(&format!("{place}: {} s", started.elapsed().as_secs()));
        }
    }
}

struct RunStatement {
    access: Access,
    statement: Statement,
    stop: Stop,
}

impl UseCase for RunStatement {
    type Outcome = ();
    const ACCESS: Access = Access::Statement;

    fn access(&self) -> Access {
        self.access
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.run_until(&self.stop, &self.statement).await
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Index {
    Absent,
    Good,
    /// The server builds it for a run whose process is gone.
    Building,
    /// A build was interrupted.
    Unfinished,
}

struct FindIndex {
    name: String,
}

impl UseCase for FindIndex {
    type Outcome = Index;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Index, StoreError> {
        let rows = tx.query(&sql::FIND_INDEX, &[(&self.name).into()]).await?;
        let Some(row) = rows.first() else { return Ok(Index::Absent) };
        Ok(match (row.get("is_good")?, row.get("is_being_built")?) {
            (1_i64, _) => Index::Good,
            (_, 1_i64) => Index::Building,
            _ => Index::Unfinished,
        })
    }
}
