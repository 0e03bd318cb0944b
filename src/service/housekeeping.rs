//! Changes many rows in batches with pauses between them: a login or refresh never waits for more than one batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::keys::KeyError;
use crate::replicas;
use crate::stored_hashes::{StagedHashes, StoredHashes};
use jeton_crypto::random;
use jeton_oauth::{ClientId, Timestamp, UserId};
use jeton_runtime::clock::Clock;
use jeton_store::data_keys::StoredUnder;
use jeton_store::import::{ImportUsers, Staging};
use jeton_store::operator_acts::{DeleteOldActs, KEPT_FOR};
use jeton_store::sessions::{
    DeleteExpiredSessions, EndAnySessions, EndSessionsOfClient, EndSessionsOfUser,
};
use jeton_store::throttle::DeleteExpiredCounters;
use jeton_store::users::DrawDecoyNumbers;
use jeton_store::{Store, StoreError, UseCase};

/// How often a command tries a batch for which the database is too busy. On SQLite each attempt takes two seconds.
const TRIES: u32 = 5;

/// How long a command works without a pause if no service runs. One that starts meanwhile then has its turn.
const ALONE: Duration = Duration::from_secs(1);

/// Which process changes the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The service, whose logins and refreshes wait in the same queue.
    Service,
    /// A command beside a service. On SQLite other processes poll, at least every 0.1 s, and could miss a shorter
    /// pause.
    OtherProcess,
}

impl Pace {
    fn pause_min(self, store: &Store) -> Duration {
        match self {
            Self::Service => Duration::from_millis(5),
            Self::OtherProcess => store.pause_beside(),
        }
    }

    /// Whether somebody else uses the database: certain of a service, and a guess about a command, since a service that
    /// starts at this moment is not recorded yet.
    async fn is_beside_others(self, store: &Store) -> bool {
        match self {
            Self::Service => true,
            Self::OtherProcess => {
                let running = replicas::running(store, Clock::System.now()).await;
                running.map_or(true, |running| !running.is_empty())
            }
        }
    }

    /// How often a batch is tried. The service has its next chance within a minute.
    fn tries(self) -> u32 {
        match self {
            Self::Service => 1,
            Self::OtherProcess => TRIES,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Size {
    /// Rows in the first batch.
    first: i64,
    /// The fewest rows in a batch.
    least: i64,
    /// The most rows in a batch.
    most: i64,
    /// How long a batch should take, with its wait for the database. After a slower one the next has half as many rows.
    time: Duration,
    /// The pause after a batch is at least this many times as long as the batch.
    pause_factor: u32,
}

/// Deleting and changing. Nobody waits for it, so it uses at most a quarter of the time.
const CHANGES: Size =
    Size { first: 50, least: 10, most: 200, time: Duration::from_millis(25), pause_factor: 3 };
/// Storing users. Somebody waits for it.
const IMPORTS: Size = Size {
    first: 1_000,
    least: 500,
    most: 4_000,
    time: Duration::from_millis(50),
    pause_factor: 0,
};

/// Deletes the sessions that could have been deleted before `before`, and returns how many. `progress` gets the count
/// so far. If several replicas do this at once, one continues and the others find nothing left in their batch.
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

/// Deletes the failure counters that could have been deleted before `before`, and returns how many.
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

/// Deletes what the command line did so long before `before` that it is not kept, and returns how many acts.
///
/// # Errors
/// [`StoreError`]; what was deleted before stays deleted.
pub async fn delete_old_acts(
    store: &Store,
    before: Timestamp,
    pace: Pace,
) -> Result<u64, StoreError> {
    let before = Timestamp(before.0.saturating_sub(KEPT_FOR.get()));
    let batch = |limit| Ok(DeleteOldActs { before, limit });
    in_batches(store, pace, CHANGES, batch, |_| {}).await
}

/// Gives a decoy number to each user without one (`sql/migrations/0004_lots.sql`), and returns to how many.
///
/// # Errors
/// [`StoreError`]; users that have got one keep it.
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

/// Ends sessions of a user, or those through one client, but leaves `but` of them, whichever these are. Returns how
/// many. Sessions that are opened meanwhile are included.
///
/// # Errors
/// [`StoreError`]; sessions that were ended stay ended.
pub async fn end_sessions_of_user(
    store: &Store,
    id: &UserId,
    client_id: Option<&ClientId>,
    but: i64,
) -> Result<u64, StoreError> {
    end_sessions(store, id, client_id, but, false).await
}

/// Ends the sessions of a user that no second factor opened. Returns how many.
///
/// # Errors
/// [`StoreError`]; sessions that were ended stay ended.
pub async fn end_sessions_without_factor(store: &Store, id: &UserId) -> Result<u64, StoreError> {
    end_sessions(store, id, None, 0, true).await
}

async fn end_sessions(
    store: &Store,
    user_id: &UserId,
    client_id: Option<&ClientId>,
    but: i64,
    without_factor: bool,
) -> Result<u64, StoreError> {
    let batch = |limit| {
        let (user_id, client_id) = (user_id.clone(), client_id.cloned());
        Ok(EndSessionsOfUser { user_id, client_id, without_factor, but, limit })
    };
    in_batches(store, Pace::OtherProcess, CHANGES, batch, |_| {}).await
}

/// Stores the staged users that are wanted, and returns how many. `staged_hashes` sealed their hashes while they were
/// staged, `hashes` says how they are to be stored. `progress` gets the count so far.
///
/// # Errors
/// A sentence; users that were stored stay stored.
pub async fn store_users(
    store: &Store,
    staging: &Staging,
    staged_hashes: &StagedHashes,
    hashes: &StoredHashes,
    now: Timestamp,
    progress: impl FnMut(u64),
) -> Result<u64, KeyError> {
    let mut after = 0;
    let batch = |limit| {
        let page = staging.page(after, limit)?;
        after = page.last().map_or(after, |(number, _)| *number);
        let users = page.into_iter().map(|(_, user)| user).collect();
        let StoredUnder { hashes: users, data_key } = hashes.of_staged(users, staged_hashes)?;
        Ok(ImportUsers { users: StoredUnder { hashes: Arc::from(users), data_key }, now })
    };
    in_batches(store, Pace::OtherProcess, IMPORTS, batch, progress).await
}

/// Runs batches until one changes fewer rows than it may, and returns how many rows were changed.
async fn in_batches<U: UseCase<Outcome = u64> + Clone, E: From<StoreError>>(
    store: &Store,
    pace: Pace,
    size: Size,
    mut batch: impl FnMut(i64) -> Result<U, E>,
    mut progress: impl FnMut(u64),
) -> Result<u64, E> {
    let (mut limit, mut total, mut paused_at) = (size.first, 0, Instant::now());
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
        if paused_at.elapsed() >= ALONE || pace.is_beside_others(store).await {
            tokio::time::sleep((time * size.pause_factor).max(pace.pause_min(store))).await;
            paused_at = Instant::now();
        }
    }
}

/// Runs a batch, and again if the database was too busy. Running it twice does no harm.
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
