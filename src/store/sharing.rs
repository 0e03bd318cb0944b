//! Requests to PostgreSQL that share a statement.
//!
//! There a statement costs a round trip and a plan, and a change a commit. So what is asked for at the same time
//! is asked for together: a request joins the next statement of its kind that begins, never one that has begun.
//! So what it sees is no older than its question, as if it had asked alone; nothing is cached. On SQLite a
//! statement takes microseconds and changes share a commit anyway (`sqlite/threads`), so nothing is shared there.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::postgres::Postgres;
use super::{Access, StoreError};

/// How many statements of one kind are under way at once: while the answer of one is read the database
/// works on the other.
const STATEMENTS_MAX: usize = 2;
/// How many requests share a statement at most.
const SHARING_MAX: usize = 64;

/// Something that many may ask for in one statement.
pub(super) trait Shareable: Send + Sync + Sized + 'static {
    /// What one of them is told.
    type Answer: Send + 'static;

    /// What one is told that is not answered in time.
    const LATE: &'static str;

    /// Whether it may be in one statement with these.
    fn goes_with(&self, others: &[Waiting<Self>]) -> bool;

    /// Asks for all of them in one statement, and tells each what came of it.
    fn ask(batch: Vec<Waiting<Self>>, postgres: &Postgres) -> impl Future<Output = ()> + Send;
}

/// A request that waits for its answer.
pub(super) struct Waiting<S: Shareable> {
    pub(super) wanted: S,
    reply: oneshot::Sender<Result<S::Answer, StoreError>>,
}

impl<S: Shareable> Waiting<S> {
    /// Tells it what came of it. Whoever has gone is not told.
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

    /// Asks together with whatever else waits.
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
            // Whoever asked for it panicked.
            Ok(Err(_)) | Err(_) => Err(StoreError::Unavailable(S::LATE.to_owned())),
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
            S::ask(batch, postgres).await;
        }
        drop(permit);
        // Whoever came between the last look and here found no permit.
        if !self.queue().is_empty() {
            self.begin(postgres);
        }
    }

    /// Takes who waits and may be in one statement, but for those who have gone.
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
