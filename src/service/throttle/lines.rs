//! Attempts that are under way: at each counter no more than may still fail.
//!
//! An attempt has one place in each line that it stands in, from before its hash until its failure is counted.
//! It takes the place only while as many more are free as have failed. So on one replica those under way and
//! those that have failed are together never more than are free.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counters::Names;
use jeton_oauth::throttle::{Counted, CounterName};

/// How many lines are kept before those that nobody stands in are given up.
const LINES_KEPT: usize = 1_024;

/// The lines of this replica.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lines: HashMap<CounterName, Weak<Line>>,
    /// How many there were after the last look for those that nobody stands in.
    in_use: usize,
}

/// The line before one counter.
#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    /// How often a failure of one who stood here was counted.
    failures: AtomicU64,
}

/// The lines that an attempt may have to stand in, in the order in which all wait for them.
#[derive(Debug)]
pub(super) struct LinesOfAttempt(Vec<(Counted, Arc<Line>)>);

/// Places in lines, which are given back when dropped.
#[derive(Debug)]
pub(super) struct Places(Vec<(Counted, OwnedSemaphorePermit)>);

impl Line {
    /// How many have failed, if so many had when the failures that were counted here were so many.
    fn failed(&self, strikes: i64, before: u64) -> u64 {
        strikes.unsigned_abs() + self.failures.load(Ordering::SeqCst) - before
    }

    /// Whether beside the places that are taken as many more are free as have failed.
    fn has_room(&self, strikes: i64, before: u64) -> bool {
        // In this order: who fails in between is missed by neither.
        let free = self.places.available_permits() as u64;
        free >= self.failed(strikes, before)
    }
}

impl Lines {
    /// The lines of an attempt that may touch these counters.
    pub(super) fn of_attempt(&self, names: &Names) -> LinesOfAttempt {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = [(Counted::AccountAtOrigin, names.at_origin), (Counted::Account, names.account)];
        let all = own.into_iter().chain([names.narrow]).chain(names.wide);
        LinesOfAttempt(all.map(|(counted, name)| (counted, kept.find(counted, name))).collect())
    }

    /// The line before one counter.
    pub(super) fn of_counter(&self, counted: Counted, name: CounterName) -> LinesOfAttempt {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        LinesOfAttempt(vec![(counted, kept.find(counted, name))])
    }
}

impl Kept {
    fn find(&mut self, counted: Counted, name: CounterName) -> Arc<Line> {
        if let Some(line) = self.lines.get(&name).and_then(Weak::upgrade) {
            return line;
        }
        if self.lines.len() >= LINES_KEPT.max(2 * self.in_use) {
            self.lines.retain(|_, line| line.strong_count() > 0);
            self.in_use = self.lines.len();
        }
        let places = usize::try_from(counted.free()).unwrap_or(1);
        let line = Line { places: Arc::new(Semaphore::new(places)), failures: AtomicU64::new(0) };
        let line = Arc::new(line);
        self.lines.insert(name, Arc::downgrade(&line));
        line
    }
}

impl LinesOfAttempt {
    /// How many failures were counted in each line: to be asked before counters are read, so that none is
    /// missed between the two.
    pub(super) fn failures(&self) -> Vec<u64> {
        self.0.iter().map(|(_, line)| line.failures.load(Ordering::SeqCst)).collect()
    }

    /// Tells the others that a failure was counted. To be called while the places are held.
    pub(super) fn note_failure(&self) {
        for (_, line) in &self.0 {
            line.failures.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Takes a place in each of these lines, if that needs no wait. `strikes` is how many have failed at each.
    pub(super) fn try_take(&self, strikes: &[(Counted, i64)]) -> Option<Places> {
        let places = self.wanted(strikes).map(|(counted, line, strikes)| {
            let permit = Arc::clone(&line.places).try_acquire_many_owned(1 + strikes).ok()?;
            Some((counted, keep_one(permit, strikes)))
        });
        places.collect::<Option<_>>().map(Places)
    }

    /// The same, and waits for each; `None` as soon as so many have failed since the counters were read that
    /// nothing is free any more.
    pub(super) async fn take(
        &self,
        strikes: &[(Counted, i64)],
        failures_before: &[u64],
    ) -> Option<Places> {
        let mut places = Vec::new();
        for ((counted, line), before) in self.0.iter().zip(failures_before) {
            let Some((_, strikes)) = strikes.iter().find(|(own, _)| own == counted) else {
                continue;
            };
            let failed = || line.failed(*strikes, *before);
            loop {
                let failed_before = failed();
                if failed_before >= counted.free().unsigned_abs() {
                    return None;
                }
                let wanted = u32::try_from(failed_before).unwrap_or(0);
                let permit = Arc::clone(&line.places).acquire_many_owned(1 + wanted).await;
                let place = keep_one(permit.expect("a line is never closed"), wanted);
                if line.has_room(*strikes, *before) {
                    places.push((*counted, place));
                    break;
                }
            }
        }
        Some(Places(places))
    }

    /// Whether these are places in each of these lines, and as many more are free there as have failed: those
    /// that were read, and those that were counted since.
    pub(super) fn suffice(
        &self,
        places: &Places,
        strikes: &[(Counted, i64)],
        failures_before: &[u64],
    ) -> bool {
        let lines = self.0.iter().zip(failures_before);
        let mut wanted = lines.filter_map(|((counted, line), before)| {
            let (_, strikes) = strikes.iter().find(|(own, _)| own == counted)?;
            Some((counted, line, strikes, before))
        });
        wanted.all(|(counted, line, strikes, before)| {
            line.has_room(*strikes, *before) && places.0.iter().any(|(own, _)| own == counted)
        })
    }

    fn wanted(
        &self,
        strikes: &[(Counted, i64)],
    ) -> impl Iterator<Item = (Counted, &Arc<Line>, u32)> {
        self.0.iter().filter_map(|(counted, line)| {
            let (_, strikes) = strikes.iter().find(|(own, _)| own == counted)?;
            Some((*counted, line, u32::try_from(*strikes).unwrap_or(0)))
        })
    }
}

/// Keeps one place of those that had to be free.
fn keep_one(mut permit: OwnedSemaphorePermit, strikes: u32) -> OwnedSemaphorePermit {
    drop(permit.split(strikes as usize));
    permit
}
