//! Permits of attempts in progress. Each counter has as many permits as free failures.
//!
//! An attempt needs 1 + recent failures of a counter's permits to be free before its password is hashed. It keeps one
//! until its failure was counted. So on one replica, attempts in progress and recent failures together never exceed the
//! free failures, and parallel guesses get no further than sequential ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counters::Names;
use jeton_oauth::throttle::{Counted, CounterName};

/// From this many counters on, those that no attempt uses are dropped.
const COUNTERS_KEPT: usize = 1_024;

/// The permits of all counters that attempts on this replica use.
#[derive(Debug, Default)]
pub(super) struct Permits(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    counters: HashMap<CounterName, Weak<CounterPermits>>,
    /// How many counters were in use when the others were last dropped.
    in_use: usize,
}

#[derive(Debug)]
struct CounterPermits {
    permits: Arc<Semaphore>,
    /// How many failures this replica has counted since it created these permits.
    failures: AtomicU64,
}

/// The counters whose permits an attempt may need, in the order in which all attempts wait for them.
#[derive(Debug)]
pub(super) struct AttemptPermits(Vec<(Counted, Arc<CounterPermits>)>);

/// One permit of each counter. Dropping it releases them.
#[derive(Debug)]
pub(super) struct HeldPermits(Vec<(Counted, OwnedSemaphorePermit)>);

impl CounterPermits {
    /// The recent failures: `strikes` in the row as it was read, plus those that this replica has counted since then.
    /// `before` is its count from before the row was read.
    fn failed(&self, strikes: i64, before: u64) -> u64 {
        strikes.unsigned_abs() + self.failures.load(Ordering::SeqCst) - before
    }

    /// Whether at least as many permits are free as have failed recently. Permits that are held are not free.
    fn has_enough_free(&self, strikes: i64, before: u64) -> bool {
        // Read in this order, neither misses a failure in between.
        let free = self.permits.available_permits() as u64;
        free >= self.failed(strikes, before)
    }
}

impl Permits {
    pub(super) fn of_attempt(&self, names: &Names) -> AttemptPermits {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = [(Counted::AccountAtOrigin, names.at_origin), (Counted::Account, names.account)];
        let all = own.into_iter().chain([names.narrow]).chain(names.wide);
        AttemptPermits(all.map(|(counted, name)| (counted, kept.find(counted, name))).collect())
    }

    pub(super) fn of_counter(&self, counted: Counted, name: CounterName) -> AttemptPermits {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        AttemptPermits(vec![(counted, kept.find(counted, name))])
    }
}

impl Kept {
    fn find(&mut self, counted: Counted, name: CounterName) -> Arc<CounterPermits> {
        if let Some(kept) = self.counters.get(&name).and_then(Weak::upgrade) {
            return kept;
        }
        if self.counters.len() >= COUNTERS_KEPT.max(2 * self.in_use) {
            self.counters.retain(|_, counter| counter.strong_count() > 0);
            self.in_use = self.counters.len();
        }
        let free = usize::try_from(counted.free()).unwrap_or(1);
        let permits = Arc::new(Semaphore::new(free));
        let new = Arc::new(CounterPermits { permits, failures: AtomicU64::new(0) });
        self.counters.insert(name, Arc::downgrade(&new));
        new
    }
}

impl AttemptPermits {
    /// How many failures this replica has counted, by counter. Called before the rows are read, it misses no failure.
    pub(super) fn failures(&self) -> Vec<u64> {
        self.0.iter().map(|(_, counter)| counter.failures.load(Ordering::SeqCst)).collect()
    }

    /// Records that a failure was counted. Call it while the permits are held.
    pub(super) fn note_failure(&self) {
        for (_, counter) in &self.0 {
            counter.failures.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Takes a permit of each counter in `strikes`, which has their recent failures, if it need not wait.
    pub(super) fn try_take(&self, strikes: &[(Counted, i64)]) -> Option<HeldPermits> {
        let held = self.wanted(strikes).map(|(counted, counter, strikes)| {
            let permits = Arc::clone(&counter.permits).try_acquire_many_owned(1 + strikes).ok()?;
            Some((counted, keep_one(permits, strikes)))
        });
        held.collect::<Option<_>>().map(HeldPermits)
    }

    /// The same, and waits for each. `None` as soon as a counter has no free failures left.
    pub(super) async fn take(
        &self,
        strikes: &[(Counted, i64)],
        failures_before: &[u64],
    ) -> Option<HeldPermits> {
        let mut held = Vec::new();
        for ((counted, counter), before) in self.0.iter().zip(failures_before) {
            let Some((_, strikes)) = strikes.iter().find(|(own, _)| own == counted) else {
                continue;
            };
            loop {
                let failed = counter.failed(*strikes, *before);
                if failed >= counted.free().unsigned_abs() {
                    return None;
                }
                let failed = u32::try_from(failed).unwrap_or(0);
                let permits = Arc::clone(&counter.permits).acquire_many_owned(1 + failed).await;
                let permit = keep_one(permits.expect("the semaphore is never closed"), failed);
                if counter.has_enough_free(*strikes, *before) {
                    held.push((*counted, permit));
                    break;
                }
            }
        }
        Some(HeldPermits(held))
    }

    /// Whether a permit of each counter in `strikes` is held, and as many more are free there as have failed recently.
    pub(super) fn suffice(
        &self,
        held: &HeldPermits,
        strikes: &[(Counted, i64)],
        failures_before: &[u64],
    ) -> bool {
        let counters = self.0.iter().zip(failures_before);
        let mut wanted = counters.filter_map(|((counted, counter), before)| {
            let (_, strikes) = strikes.iter().find(|(own, _)| own == counted)?;
            Some((counted, counter, strikes, before))
        });
        wanted.all(|(counted, counter, strikes, before)| {
            counter.has_enough_free(*strikes, *before)
                && held.0.iter().any(|(own, _)| own == counted)
        })
    }

    fn wanted(
        &self,
        strikes: &[(Counted, i64)],
    ) -> impl Iterator<Item = (Counted, &Arc<CounterPermits>, u32)> {
        self.0.iter().filter_map(|(counted, counter)| {
            let (_, strikes) = strikes.iter().find(|(own, _)| own == counted)?;
            Some((*counted, counter, u32::try_from(*strikes).unwrap_or(0)))
        })
    }
}

/// Keeps one of the permits that had to be free.
fn keep_one(mut permits: OwnedSemaphorePermit, failed: u32) -> OwnedSemaphorePermit {
    drop(permits.split(failed as usize));
    permits
}
