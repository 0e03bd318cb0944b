//! Deleting or changing many rows: in small batches with pauses between them, so that logins and refreshes never
//! wait for more than one batch.

use std::time::{Duration, Instant};

use jeton_crypto::random;
use jeton_oauth::{ClientId, Timestamp};
use jeton_store::sessions::{DeleteExpiredSessions, EndSessionsOfClient};
use jeton_store::throttle::DeleteExpiredTallies;
use jeton_store::users::DrawLots;
use jeton_store::{Store, StoreError, UseCase};

/// How many rows are deleted or changed at once: at first, at least and at most.
const BATCH: i64 = 50;
const BATCH_MIN: i64 = 10;
const BATCH_MAX: i64 = 200;
/// How long a batch should take. One that takes longer, with what it waited for, is followed by a smaller one.
const BATCH_TIME: Duration = Duration::from_millis(25);
/// How much longer than a batch the pause after it is: so deleting takes a quarter of the time at most.
const PAUSE_FACTOR: u32 = 3;

/// Who deletes or changes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The service, whose logins and refreshes wait in the same queue.
    Service,
    /// The command line, beside a service. On SQLite those who wait for another process look again and again,
    /// after a tenth of a second at most: a pause that is shorter may pass before anybody sees it.
    Beside,
}

impl Pace {
    /// The shortest pause.
    fn pause_min(self, store: &Store) -> Duration {
        match self {
            Self::Beside if store.has_one_writer() => Duration::from_millis(110),
            Self::Beside | Self::Service => Duration::from_millis(5),
        }
    }
}

/// Deletes what could have been deleted before a moment, and returns how much that was. `progress` is told the count so far. Of
/// replicas that do this at the same moment one goes on and the others find nothing left in their batch.
///
/// # Errors
/// [`StoreError`]; what was deleted before stays deleted.
pub async fn delete_expired_sessions(
    store: &Store,
    before: Timestamp,
    pace: Pace,
    progress: impl FnMut(u64),
) -> Result<u64, StoreError> {
    in_batches(store, pace, |limit| DeleteExpiredSessions { before, limit }, progress).await
}

/// Deletes counters of failures that say nothing any more, and returns how many there were.
///
/// # Errors
/// [`StoreError`]; what was deleted before stays deleted.
pub async fn delete_expired_tallies(
    store: &Store,
    before: Timestamp,
    pace: Pace,
) -> Result<u64, StoreError> {
    in_batches(store, pace, |limit| DeleteExpiredTallies { before, limit }, |_| {}).await
}

/// Gives users a lot who have none (`sql/migrations/0004_lots.sql`), and returns how many.
///
/// # Errors
/// [`StoreError`]; who was given one before keeps it.
pub async fn draw_lots(store: &Store) -> Result<u64, StoreError> {
    let batch = |limit: i64| DrawLots { lots: (0..limit).map(|_| random::lot()).collect() };
    in_batches(store, Pace::Service, batch, |_| {}).await
}

/// Ends all sessions of a client, which is disabled, so that no new one is opened meanwhile.
///
/// # Errors
/// [`StoreError`]; what was ended before stays ended.
pub async fn end_sessions_of_client(store: &Store, id: &ClientId) -> Result<u64, StoreError> {
    let batch = |limit| EndSessionsOfClient { client_id: id.clone(), limit };
    in_batches(store, Pace::Beside, batch, |_| {}).await
}

async fn in_batches<U: UseCase<Outcome = u64>>(
    store: &Store,
    pace: Pace,
    batch: impl Fn(i64) -> U,
    mut progress: impl FnMut(u64),
) -> Result<u64, StoreError> {
    let (mut limit, mut total) = (BATCH, 0);
    loop {
        let started = Instant::now();
        let done = store.perform(batch(limit)).await?;
        let time = started.elapsed();
        total += done;
        progress(total);
        if done < limit.unsigned_abs() {
            return Ok(total);
        }
        limit = if time > BATCH_TIME { limit / 2 } else { limit * 2 };
        limit = limit.clamp(BATCH_MIN, BATCH_MAX);
        tokio::time::sleep((time * PAUSE_FACTOR).max(pace.pause_min(store))).await;
    }
}
