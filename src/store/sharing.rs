//! Requests to PostgreSQL that share a statement.
//!
//! There each statement costs a round trip and a plan, and each change a commit. So requests of one kind that wait at
//! the same time share one statement. A request joins the next statement that begins, never one that has begun, so it
//! sees what it would have seen alone; nothing is cached. SQLite needs none of this: a statement takes microseconds,
//! and changes share a commit anyway (`sqlite/threads`).

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::postgres::Postgres;
use super::{Access, StoreError};

/// How many statements of one kind run at once: the database works on one while the answer of the other is read.
const STATEMENTS_MAX: usize = 2;
const SHARING_MAX: usize = 64;

/// A request of which several can share a statement.
pub(super) trait Shareable: Send + Sync + Sized + 'static {
    type Answer: Send + 'static;

    /// The error text of a request that gets no answer in time.
    const LATE: &'static str;

    /// Whether it may share a statement with these.
    fn goes_with(&self, others: &[Waiting<Self>]) -> bool;

    /// Runs one statement for all of them, and answers each.
    fn ask(batch: Vec<Waiting<Self>>, postgres: &Postgres) -> impl Future<Output = ()> + Send;
}

/// A request that waits for its answer.
pub(super) struct Waiting<S: Shareable> {
    pub(super) wanted: S,
    reply: oneshot::Sender<Result<S::Answer, StoreError>>,
}

impl<S: Shareable> Waiting<S> {
    /// Answers it. If the caller has gone, nothing happens.
    pub(super) fn answer(self, answer: Result<S::Answer, StoreError>) {
        self.reply.send(answer).ok();
    }
}

/// The requests of one kind.
pub(super) struct Shared<S: Shareable> {
    waiting: Arc<Mutex<VecDeque<Waiting<S>>>>,
    statements: Arc<Semaphore>,
}

impl<S: Shareable> Clone for Shared<S> {
    fn clone(&self) -> Self {
        let (waiting, statements) = (Arc::clone(&self.waiting), Arc::clone(&self.statements));
        Self { waiting, statements }
    }
}

impl<S: Shareable> Default for Shared<S> {
    fn default() -> Self {
        let statements = Arc::new(Semaphore::new(STATEMENTS_MAX));
        Self { waiting: Arc::default(), statements }
    }
}

impl<S: Shareable> fmt::Debug for Shared<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("waiting", &self.queue().len()).finish()
    }
}

impl<S: Shareable> Shared<S> {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiting<S>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer of a statement that is shared with whatever else waits.
    pub(super) async fn ask(
        &self,
        wanted: S,
        postgres: &Postgres,
    ) -> Result<S::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue().push_back(Waiting { wanted, reply });
        self.begin(postgres);
        match timeout(Access::Read.patience(), answer).await {
            Ok(Ok(answer)) => answer,
            // The task that ran the statement panicked.
            Ok(Err(_)) | Err(_) => Err(StoreError::Unavailable(S::LATE.to_owned())),
        }
    }

    /// Begins a statement unless enough are running. It outlives the request that began it, since others may wait for
    /// it.
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
            S::ask(batch, postgres).await;
        }
        drop(permit);
        // A request that came after the last look found no permit.
        if !self.queue().is_empty() {
            self.begin(postgres);
        }
    }

    /// Takes the waiting requests that may share a statement. Drops those whose callers have gone.
    fn next_batch(&self) -> Vec<Waiting<S>> {
        let mut queue = self.queue();
        let (mut batch, mut later) = (Vec::new(), VecDeque::new());
        while let Some(waiting) = queue.pop_front() {
            if waiting.reply.is_closed() {
                continue;
            }
            if batch.len() < SHARING_MAX && waiting.wanted.goes_with(&batch) {
                batch.push(waiting);
            } else {
                later.push_back(waiting);
            }
        }
        *queue = later;
        batch
    }
}
