//! Deleting or changing many rows: in small batches with pauses between them, so that logins and refreshes never
//! wait for more than one batch.

use std::time::{Duration, Instant};

use crate::clock::Timestamp;
use crate::crypto::random;
use crate::oauth::ClientId;
use crate::store::sessions::{DeleteExpiredSessions, EndSessionsOfClient};
use crate::store::throttle::DeleteExpiredTallies;
use crate::store::users::DrawLots;
use crate::store::{Store, StoreError, UseCase};

/// How many rows are deleted or changed at once.
const BATCH: u64 = 200;
/// How much longer than a batch the pause after it is: so deleting takes a quarter of the time at most.
const PAUSE_FACTOR: u32 = 3;
/// The shortest pause.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Deletes what could have been deleted before a moment, and returns how much that was. `progress` is told the count so far. Of
/// replicas that do this at the same moment one goes on and the others find nothing left in their batch.
///
/// # Errors
/// [`StoreError`]; what was deleted before stays deleted.
pub async fn delete_expired_sessions(
    store: &Store,
    before: Timestamp,
    progress: impl FnMut(u64),
) -> Result<u64, StoreError> {
    in_batches(store, |limit| DeleteExpiredSessions { before, limit }, progress).await
}

/// Deletes counters of failures that say nothing any more, and returns how many there were.
///
/// # Errors
/// [`StoreError`]; what was deleted before stays deleted.
pub async fn delete_expired_tallies(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    in_batches(store, |limit| DeleteExpiredTallies { before, limit }, |_| {}).await
}

/// Gives users a lot who have none (`sql/migrations/0004_lots.sql`), and returns how many.
///
/// # Errors
/// [`StoreError`]; who was given one before keeps it.
pub async fn draw_lots(store: &Store) -> Result<u64, StoreError> {
    let batch = |limit: i64| DrawLots { lots: (0..limit).map(|_| random::lot()).collect() };
    in_batches(store, batch, |_| {}).await
}

/// Ends all sessions of a client, which is disabled, so that no new one is opened meanwhile.
///
/// # Errors
/// [`StoreError`]; what was ended before stays ended.
pub async fn end_sessions_of_client(store: &Store, id: &ClientId) -> Result<u64, StoreError> {
    let batch = |limit| EndSessionsOfClient { client_id: id.clone(), limit };
    in_batches(store, batch, |_| {}).await
}

async fn in_batches<U: UseCase<Outcome = u64>>(
    store: &Store,
    batch: impl Fn(i64) -> U,
    mut progress: impl FnMut(u64),
) -> Result<u64, StoreError> {
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let mut total = 0;
    loop {
        let started = Instant::now();
        let deleted = store.perform(batch(limit)).await?;
        total += deleted;
        progress(total);
        if deleted < BATCH {
            return Ok(total);
        }
        tokio::time::sleep((started.elapsed() * PAUSE_FACTOR).max(PAUSE_MIN)).await;
    }
}
