//! Whether the database takes writes: the disk may be full, another process may hold the lock, the
//! server may be a standby, the file may have been deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{Access, Store, StoreError, Tx, UseCase, sql};

/// How long what came of a check is told to others.
const AGE_MAX: Duration = Duration::from_secs(1);

/// What came of the last check.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteCheck(Arc<Mutex<Option<Checked>>>);

#[derive(Debug)]
struct Checked {
    at: Instant,
    outcome: Result<(), StoreError>,
}

impl Store {
    /// Writes and commits a row that nothing reads, to see that a login could be stored. All who ask
    /// within a second, or while a check is under way, are told what came of the same check.
    ///
    /// # Errors
    /// [`StoreError`], which says why it takes no writes; after 5 seconds at most.
    pub async fn check_write(&self) -> Result<(), StoreError> {
        let mut last = self.write_check.0.lock().await;
        if let Some(checked) = &*last
            && checked.at.elapsed() < AGE_MAX
        {
            return checked.outcome.clone();
        }
        let outcome = self.perform(CheckWrite).await;
        *last = Some(Checked { at: Instant::now(), outcome: outcome.clone() });
        outcome
    }
}

struct CheckWrite;

impl UseCase for CheckWrite {
    type Outcome = ();

    fn access(&self) -> Access {
        Access::Write
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.execute(&sql::CHECK_WRITE, &[]).await.map(drop)
    }
}
