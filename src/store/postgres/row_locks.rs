//! Locks in memory for rows that several requests change.
//!
//! A statement that waits for a row in the database occupies a connection. So those that would wait for the same row
//! wait here instead, and a locked row occupies one connection of a replica, not all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as RowMutex, OwnedMutexGuard};

/// The rows that are being changed.
#[derive(Clone, Default)]
pub(super) struct RowLocks(Arc<Mutex<HashMap<String, Arc<RowMutex<()>>>>>);

/// The lock of a row, until it is dropped.
pub(super) struct RowLock {
    row_locks: RowLocks,
    row: String,
    guard: Option<OwnedMutexGuard<()>>,
}

impl RowLocks {
    pub(super) async fn wait_for(&self, row: String) -> RowLock {
        let lock = self.with_rows(|rows| Arc::clone(rows.entry(row.clone()).or_default()));
        // Made before waiting, so that one who gives up leaves nothing behind either.
        let mut turn = RowLock { row_locks: self.clone(), row, guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }

    fn with_rows<T>(&self, act: impl FnOnce(&mut HashMap<String, Arc<RowMutex<()>>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for RowLock {
    fn drop(&mut self) {
        self.guard = None;
        self.row_locks.with_rows(|rows| {
            // Those who wait hold it too.
            if rows.get(&self.row).is_some_and(|lock| Arc::strong_count(lock) == 1) {
                rows.remove(&self.row);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_changes_a_row_and_nothing_is_left_of_it() {
        let row_locks = RowLocks::default();
        let wait = |row: &str| row_locks.wait_for(row.to_owned());
        let first = wait("a").await;
        drop(wait("b").await);
        {
            let mut second = pin!(wait("a"));
            let poll = second.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(poll, Poll::Pending), "it is the turn of the first");
            drop(first);
            second.await;
        }
        let held = wait("a").await;
        // One who gives up leaves nothing behind.
        let mut given_up = Box::pin(wait("a"));
        let poll = given_up.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(poll, Poll::Pending));
        drop(held);
        drop(given_up);
        assert!(row_locks.with_rows(|rows| rows.is_empty()));
    }
}
