//! A bounded queue of jobs for threads.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many jobs may wait.
const LENGTH_MAX: usize = 1_024;

/// Why a job was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too many jobs wait.
    Full,
    /// The threads are ending.
    Closed,
}

pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// How many were taken and are not finished.
    in_progress: usize,
    /// How many threads have nothing to do.
    idle: usize,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let state = State { waiting: VecDeque::new(), in_progress: 0, idle: 0, closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new() }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (in_progress, waiting) = self.length();
        let mut shown = formatter.debug_struct("Queue");
        shown.field("in_hand", &in_progress).field("waiting", &waiting).finish()
    }
}

impl<T> Queue<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, and wakes an idle thread.
    pub(super) fn push(&self, job: T) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.waiting.len() >= LENGTH_MAX {
            return Err(Refusal::Full);
        }
        state.waiting.push_back(job);
        if state.idle > 0 {
            drop(state);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for jobs and takes some: this thread's share, and at most `most`. None if the queue is closed and empty.
    pub(super) fn take(&self, threads: usize, most: usize) -> Vec<T> {
        let mut state = self.state();
        while state.waiting.is_empty() && !state.closed {
            state.idle += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        let count = state.waiting.len().div_ceil(threads).min(most);
        state.in_progress += count;
        state.waiting.drain(..count).collect()
    }

    /// Reports that so many jobs are finished.
    pub(super) fn done(&self, count: usize) {
        self.state().in_progress -= count;
    }

    /// How many jobs were taken and are not finished, and how many wait.
    pub(super) fn length(&self) -> (usize, usize) {
        let state = self.state();
        (state.in_progress, state.waiting.len())
    }

    /// Accepts no more jobs. The threads finish those that wait.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }
}
