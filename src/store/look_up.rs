//! Look-ups by primary key that concurrent requests share.
//!
//! On PostgreSQL a statement costs a round trip and a plan, so what is asked for at the same time is
//! looked up together: a request joins the next statement that begins, never one that has begun. So
//! what it sees is no older than its question, as if it had asked alone; nothing is cached. On SQLite
//! a look-up takes microseconds, and there is nothing to share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::postgres::Postgres;
use super::sql::{LookUpStatement, WIDTH};
use super::value::{Row, Value};
use super::{Access, StoreError, Tx, UseCase};

/// How many statements of one kind are under way at once: while the answer of one is read the database
/// works on the other.
const STATEMENTS_MAX: usize = 2;

/// Something that is found by its primary key.
pub(crate) trait LookUp: Clone + PartialEq + Send + Sync + 'static {
    /// What is found.
    type Found: Clone + Send + 'static;

    /// The key.
    fn key(&self) -> Value;

    /// The statement that finds it.
    fn statement() -> &'static LookUpStatement;

    /// Reads what was found, in any order.
    fn read(rows: &[Row]) -> Result<Vec<Self::Found>, StoreError>;

    /// Whether this is what was looked for.
    fn is_found(&self, found: &Self::Found) -> bool;
}

/// Some look-ups in one statement.
#[derive(Debug)]
pub(super) struct LookUpAll<L>(pub(super) Vec<L>);

impl<L: LookUp> UseCase for LookUpAll<L> {
    type Outcome = Vec<L::Found>;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<L::Found>, StoreError> {
        let mut keys: Vec<Value> = self.0.iter().map(LookUp::key).collect();
        let statement = L::statement().for_keys(&mut keys);
        L::read(&tx.query(statement, &keys).await?)
    }
}

/// A request that waits for the next statement.
struct Waiting<L: LookUp> {
    look_up: L,
    reply: oneshot::Sender<Result<Option<L::Found>, StoreError>>,
}

/// The look-ups of one kind.
pub(super) struct Shared<L: LookUp> {
    waiting: Arc<Mutex<Vec<Waiting<L>>>>,
    statements: Arc<Semaphore>,
}

impl<L: LookUp> Clone for Shared<L> {
    fn clone(&self) -> Self {
        let (waiting, statements) = (Arc::clone(&self.waiting), Arc::clone(&self.statements));
        Self { waiting, statements }
    }
}

impl<L: LookUp> Default for Shared<L> {
    fn default() -> Self {
        let statements = Arc::new(Semaphore::new(STATEMENTS_MAX));
        Self { waiting: Arc::default(), statements }
    }
}

impl<L: LookUp> std::fmt::Debug for Shared<L> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("waiting", &self.queue().len()).finish()
    }
}

impl<L: LookUp> Shared<L> {
    fn queue(&self) -> MutexGuard<'_, Vec<Waiting<L>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks something up together with whatever else waits.
    pub(super) async fn find(
        &self,
        look_up: L,
        postgres: &Postgres,
    ) -> Result<Option<L::Found>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue().push(Waiting { look_up, reply });
        self.begin(postgres);
        let unavailable = |why: &str| Err(StoreError::Unavailable(why.to_owned()));
        match timeout(Access::Read.patience(), answer).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => unavailable("a look-up was given up"),
            Err(_) => unavailable("the database did not answer in time"),
        }
    }

    /// Begins a statement unless enough are under way. It outlives the request that began it,
    /// because others may wait for it.
    fn begin(&self, postgres: &Postgres) {
        if let Ok(permit) = Arc::clone(&self.statements).try_acquire_owned() {
            let (own, postgres) = (self.clone(), postgres.clone());
            tokio::spawn(async move { own.run_until_nobody_waits(permit, &postgres).await });
        }
    }

    async fn run_until_nobody_waits(self, permit: OwnedSemaphorePermit, postgres: &Postgres) {
        loop {
            let batch = self.next_batch();
            if batch.is_empty() {
                break;
            }
            let mut distinct: Vec<L> = Vec::with_capacity(batch.len());
            for waiting in &batch {
                if !distinct.contains(&waiting.look_up) {
                    distinct.push(waiting.look_up.clone());
                }
            }
            let shared = distinct.len() > 1;
            let outcome = postgres.perform(LookUpAll(distinct)).await;
            if shared && matches!(outcome, Err(StoreError::Corrupt(_))) {
                // One row that cannot be read is no reason to refuse the others.
                answer_one_by_one(batch, postgres).await;
                continue;
            }
            for Waiting { look_up, reply } in batch {
                let pick = |found: &Vec<L::Found>| {
                    found.iter().find(|found| look_up.is_found(found)).cloned()
                };
                reply.send(outcome.as_ref().map(pick).map_err(Clone::clone)).ok();
            }
        }
        drop(permit);
        // Whoever came between the last look and here found no permit.
        if !self.queue().is_empty() {
            self.begin(postgres);
        }
    }

    /// Takes who waits, but for those who have gone.
    fn next_batch(&self) -> Vec<Waiting<L>> {
        let mut queue = self.queue();
        queue.retain(|waiting| !waiting.reply.is_closed());
        let count = queue.len().min(WIDTH);
        queue.drain(..count).collect()
    }
}

/// Looks each up in a statement of its own.
async fn answer_one_by_one<L: LookUp>(batch: Vec<Waiting<L>>, postgres: &Postgres) {
    for Waiting { look_up, reply } in batch {
        let found = postgres.perform(LookUpAll(vec![look_up])).await;
        reply.send(found.map(|rows| rows.into_iter().next())).ok();
    }
}
