//! Adding, changing or deleting many rows: in batches with pauses between them, so that logins and refreshes never
//! wait for more than one batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jeton_crypto::random;
use jeton_oauth::{ClientId, Timestamp, UserId};
use jeton_store::import::{ImportUsers, Staging};
use jeton_store::sessions::{
    DeleteExpiredSessions, EndAnySessions, EndSessionsOfClient, EndSessionsOfUser,
};
use jeton_store::throttle::DeleteExpiredCounters;
use jeton_store::users::DrawDecoyNumbers;
use jeton_store::{Store, StoreError, UseCase};

/// How often a command tries a batch that the database is too busy for. On SQLite each attempt takes two seconds.
const TRIES: u32 = 5;

/// Who adds, deletes or changes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The service, whose logins and refreshes wait in the same queue.
    Service,
    /// The command line, beside a service. On SQLite those who wait for another process look again and again,
    /// after a tenth of a second at most: a pause that is shorter may pass before anybody sees it.
    OtherProcess,
}

impl Pace {
    /// The shortest pause.
    fn pause_min(self, store: &Store) -> Duration {
        match self {
            Self::Service => Duration::from_millis(5),
            Self::OtherProcess => store.pause_beside(),
        }
    }

    /// How often a batch is tried. The service tries again in a minute.
    fn tries(self) -> u32 {
        match self {
            Self::Service => 1,
            Self::OtherProcess => TRIES,
        }
    }
}

/// How large batches are.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// How many rows there are in the first.
    first: i64,
    /// How many there are at least.
    least: i64,
    /// How many there are at most.
    most: i64,
    /// How long one should take. One that takes longer, with what it waited for, is followed by a smaller one.
    time: Duration,
    /// How much longer than a batch the pause after it is, at least.
    pause_factor: u32,
}

/// Deleting and changing. It has all the time there is, and so takes a quarter of it at most.
const CHANGES: Size =
    Size { first: 50, least: 10, most: 200, time: Duration::from_millis(25), pause_factor: 3 };
/// Storing users, for which somebody waits.
const IMPORTS: Size = Size {
    first: 1_000,
    least: 500,
    most: 4_000,
    time: Duration::from_millis(50),
    pause_factor: 0,
};

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
    let batch = |limit| Ok(DeleteExpiredSessions { before, limit });
    in_batches(store, pace, CHANGES, batch, progress).await
}

/// Deletes counters of failures that say nothing any more, and returns how many there were.
///
/// # Errors
/// [`StoreError`]; what was deleted before stays deleted.
pub async fn delete_expired_counters(
    store: &Store,
    before: Timestamp,
    pace: Pace,
) -> Result<u64, StoreError> {
    let batch = |limit| Ok(DeleteExpiredCounters { before, limit });
    in_batches(store, pace, CHANGES, batch, |_| {}).await
}

/// Gives users a decoy number who have none (`sql/migrations/0004_lots.sql`), and returns how many.
///
/// # Errors
/// [`StoreError`]; who was given one before keeps it.
pub async fn draw_decoy_numbers(store: &Store) -> Result<u64, StoreError> {
    let batch = |limit: i64| {
        Ok(DrawDecoyNumbers { decoy_numbers: (0..limit).map(|_| random::decoy_number()).collect() })
    };
    in_batches(store, Pace::Service, CHANGES, batch, |_| {}).await
}

/// Ends all sessions of a client. Those that are opened meanwhile are among them, unless it is disabled. `progress` is told
/// the count so far.
///
/// # Errors
/// [`StoreError`]; what was ended before stays ended.
pub async fn end_sessions_of_client(
    store: &Store,
    id: &ClientId,
    progress: impl FnMut(u64),
) -> Result<u64, StoreError> {
    let batch = |limit| Ok(EndSessionsOfClient { client_id: id.clone(), limit });
    in_batches(store, Pace::OtherProcess, CHANGES, batch, progress).await
}

/// Ends all sessions, and returns how many there were. Sessions that are opened meanwhile are among them. `progress` is
/// told the count so far.
///
/// # Errors
/// [`StoreError`]; what was ended before stays ended.
pub async fn end_all_sessions(store: &Store, progress: impl FnMut(u64)) -> Result<u64, StoreError> {
    let batch = |limit| Ok(EndAnySessions { limit });
    in_batches(store, Pace::OtherProcess, CHANGES, batch, progress).await
}

/// Ends the sessions of a user, or those through one client, but for so many, and returns how many that were. Sessions
/// that are opened meanwhile are among them.
///
/// # Errors
/// [`StoreError`]; what was ended before stays ended.
pub async fn end_sessions_of_user(
    store: &Store,
    id: &UserId,
    client_id: Option<&ClientId>,
    but: i64,
) -> Result<u64, StoreError> {
    let batch = |limit| {
        Ok(EndSessionsOfUser { user_id: id.clone(), client_id: client_id.cloned(), but, limit })
    };
    in_batches(store, Pace::OtherProcess, CHANGES, batch, |_| {}).await
}

/// Stores the users that are staged and wanted. `progress` is told how many were stored so far.
///
/// # Errors
/// [`StoreError`]; what was stored before stays stored.
pub async fn store_users(
    store: &Store,
    staging: &Staging,
    now: Timestamp,
    progress: impl FnMut(u64),
) -> Result<u64, StoreError> {
    let mut after = 0;
    let batch = |limit| {
        let page = staging.page(after, limit)?;
        after = page.last().map_or(after, |(number, _)| *number);
        let users: Arc<[_]> = page.into_iter().map(|(_, user)| user).collect();
        Ok(ImportUsers { users, now })
    };
    in_batches(store, Pace::OtherProcess, IMPORTS, batch, progress).await
}

/// Does batches of at most so many rows, until there are fewer, and returns how many rows that were.
async fn in_batches<U: UseCase<Outcome = u64> + Clone>(
    store: &Store,
    pace: Pace,
    size: Size,
    mut batch: impl FnMut(i64) -> Result<U, StoreError>,
    mut progress: impl FnMut(u64),
) -> Result<u64, StoreError> {
    let (mut limit, mut total) = (size.first, 0);
    loop {
        let batch = batch(limit)?;
        let started = Instant::now();
        let done = perform(store, pace, batch).await?;
        let time = started.elapsed();
        total += done;
        progress(total);
        if done < limit.unsigned_abs() {
            return Ok(total);
        }
        limit = if time > size.time { limit / 2 } else { limit * 2 };
        limit = limit.clamp(size.least, size.most);
        tokio::time::sleep((time * size.pause_factor).max(pace.pause_min(store))).await;
    }
}

/// Does a batch, and tries again while the database is too busy. It may have been done the first time: to do it twice
/// does no harm.
async fn perform<U: UseCase + Clone>(
    store: &Store,
    pace: Pace,
    batch: U,
) -> Result<U::Outcome, StoreError> {
    for _ in 1..pace.tries() {
        match store.perform(batch.clone()).await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(pace.pause_min(store)).await,
            outcome => return outcome,
        }
    }
    store.perform(batch).await
}
