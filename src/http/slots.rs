//! Limits how many connections are open. When all slots are taken, the connection that has waited longest for its
//! caller is evicted, so nobody locks others out by holding connections open. A connection whose request is being
//! answered is never evicted. A caller that was refused and goes on sending is evicted before all others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use super::request_memory::Budget;

/// How long a connection must have waited for its caller before it may be evicted. This is longer than it takes to
/// write an answer, and longer than an honest caller takes to go on.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to look again for a connection that may be evicted.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long nothing may have come or been in progress before a stopping listener counts as quiet: long enough for a
/// request to follow its connection.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    free: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    /// How many connections and requests have come.
    arrived: AtomicU64,
    /// How many requests are in progress, from the end of their heads until their answers.
    under_way: AtomicUsize,
    budget: Budget,
}

/// The order of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It was answered, and the rest of what its caller sends is discarded.
    Refused,
    /// It waits for its caller, and has several incomplete requests in progress.
    Sharing,
    /// It waits for its caller.
    Waiting,
}

/// The connections that wait for their callers, longest first in each rank.
#[derive(Debug, Default)]
struct Waiting {
    turns: u64,
    connections: BTreeMap<(Rank, u64), (Instant, Arc<Notify>)>,
}

impl Waiting {
    /// Evicts the first connection of a rank, if it has waited long enough. Returns whether it did.
    fn evict(&mut self, rank: Rank) -> bool {
        let mut of_rank = self.connections.range((rank, 0)..=(rank, u64::MAX));
        let Some((&key, (since, evicted_signal))) = of_rank.next() else { return false };
        let is_due = rank == Rank::Refused || since.elapsed() >= PATIENCE;
        if is_due {
            evicted_signal.notify_one();
            self.connections.remove(&key);
        }
        is_due
    }
}

/// Locks a value that no panic can leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slots {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let most = most.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(most));
        let (arrived, under_way) = Default::default();
        let budget = Budget::new(most);
        Arc::new(Self { most, free, waiting: Mutex::default(), arrived, under_way, budget })
    }

    /// Takes a slot. If none is free, calls `when_full` and evicts another connection.
    pub(super) async fn take(self: &Arc<Self>, when_full: impl FnOnce()) -> Arc<Slot> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Slot::new(self, permit);
        }
        when_full();
        loop {
            self.evict_one();
            let free = Arc::clone(&self.free).acquire_owned();
            if let Ok(permit) = timeout_at(Instant::now() + LOOK_AGAIN, free).await {
                return Slot::new(self, permit.expect("it is never closed"));
            }
        }
    }

    /// Evicts one connection, in the order of [`Rank`], if one has waited long enough.
    pub(super) fn evict_one(&self) {
        let ranks = [Rank::Refused, Rank::Sharing, Rank::Waiting];
        let mut waiting = lock(&self.waiting);
        let _ = ranks.into_iter().any(|rank| waiting.evict(rank));
    }

    /// Waits until no request is in progress, and for a while neither a connection nor a request has come.
    pub(super) async fn quiet(&self) {
        let (mut arrived, mut since) = (self.arrived.load(Ordering::Relaxed), Instant::now());
        while since.elapsed() < QUIET {
            sleep(LOOK_AGAIN).await;
            let now = self.arrived.load(Ordering::Relaxed);
            if now != arrived || self.under_way.load(Ordering::Relaxed) > 0 {
                (arrived, since) = (now, Instant::now());
            }
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(super) async fn all_free(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        self.free.acquire_many(all).await.ok();
    }
}

/// The slot of a connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    state: Mutex<State>,
    evicted_signal: Arc<Notify>,
    /// Whether a request uses the memory that each connection has of its own.
    own_memory_taken: AtomicBool,
    /// How many octets of the shared budget its other requests have.
    shared: AtomicUsize,
    _permit: OwnedSemaphorePermit,
}

/// Whether a connection waits for its caller. It does while no complete request is being answered.
#[derive(Debug)]
struct State {
    answering: usize,
    /// How many requests are in progress, from the end of their heads until their answers.
    requests: usize,
    /// Since when there is none.
    idle_since: Instant,
    /// Whether its caller was refused and may still be sending.
    refused: bool,
    rank: Rank,
    turn: u64,
    since: Instant,
}

impl Slot {
    fn new(slots: &Arc<Slots>, permit: OwnedSemaphorePermit) -> Arc<Self> {
        slots.arrived.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let state = State {
            answering: 0,
            requests: 0,
            idle_since: now,
            refused: false,
            rank: Rank::Waiting,
            turn: 0,
            since: now,
        };
        let slot = Self {
            slots: Arc::clone(slots),
            state: Mutex::new(state),
            evicted_signal: Arc::default(),
            own_memory_taken: AtomicBool::new(false),
            shared: AtomicUsize::new(0),
            _permit: permit,
        };
        slot.wait(&mut lock(&slot.state));
        Arc::new(slot)
    }

    /// Enters the list of connections that wait for their callers.
    fn wait(&self, state: &mut State) {
        state.since = Instant::now();
        state.rank = self.rank(state);
        let mut waiting = lock(&self.slots.waiting);
        waiting.turns += 1;
        state.turn = waiting.turns;
        let entry = (state.since, Arc::clone(&self.evicted_signal));
        waiting.connections.insert((state.rank, state.turn), entry);
    }

    /// Leaves that list.
    fn wait_no_more(&self, state: &State) {
        lock(&self.slots.waiting).connections.remove(&(state.rank, state.turn));
    }

    /// Marks a connection whose caller was refused and may still be sending. It is evicted before others, until a
    /// request of it is answered again.
    pub(super) fn evict_first(&self) {
        let mut state = lock(&self.state);
        state.refused = true;
        drop(state);
        self.update_rank();
    }

    /// Takes the connection's own memory, if no request has it.
    pub(super) fn take_own_memory(&self) -> bool {
        !self.own_memory_taken.swap(true, Ordering::Relaxed)
    }

    pub(super) fn free_own_memory(&self) {
        self.own_memory_taken.store(false, Ordering::Relaxed);
    }

    /// Takes memory for another request from the shared budget. If too little is left, evicts a connection that uses
    /// it.
    pub(super) fn take_shared_memory(&self, octets: usize) -> bool {
        let taken = self.slots.budget.take(octets);
        if taken {
            self.shared.fetch_add(octets, Ordering::Relaxed);
            self.update_rank();
        } else {
            lock(&self.slots.waiting).evict(Rank::Sharing);
        }
        taken
    }

    pub(super) fn free_shared_memory(&self, octets: usize) {
        self.slots.budget.give_back(octets);
        self.shared.fetch_sub(octets, Ordering::Relaxed);
        self.update_rank();
    }

    /// Updates its rank, if it waits for its caller.
    fn update_rank(&self) {
        let mut state = lock(&self.state);
        if state.answering == 0 && state.rank != self.rank(&state) {
            self.wait_no_more(&state);
            self.wait(&mut state);
        }
    }

    fn rank(&self, state: &State) -> Rank {
        match self.shared.load(Ordering::Relaxed) {
            _ if state.refused => Rank::Refused,
            0 => Rank::Waiting,
            _ => Rank::Sharing,
        }
    }

    pub(super) async fn evicted(&self) {
        self.evicted_signal.notified().await;
    }

    /// Since when no request is in progress; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = lock(&self.state);
        (state.requests == 0).then_some(state.idle_since)
    }

    /// Since when it waits for its caller; `None` while it answers.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let state = lock(&self.state);
        (state.answering == 0).then_some(state.since)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        lock(&self.slots.waiting).connections.remove(&(state.rank, state.turn));
    }
}

/// A request in progress. The service's turn lasts from when the request is complete until this is dropped.
#[derive(Debug)]
pub(super) struct RequestUnderWay {
    slot: Arc<Slot>,
    begun: AtomicBool,
}

impl RequestUnderWay {
    /// A request whose head has arrived.
    pub(super) fn new(slot: &Arc<Slot>) -> Self {
        slot.slots.arrived.fetch_add(1, Ordering::Relaxed);
        slot.slots.under_way.fetch_add(1, Ordering::Relaxed);
        lock(&slot.state).requests += 1;
        Self { slot: Arc::clone(slot), begun: AtomicBool::new(false) }
    }

    /// The request is complete, or no more of it is waited for: the service's turn begins.
    pub(super) fn begin(&self) {
        if self.begun.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut state = lock(&self.slot.state);
        if state.answering == 0 {
            self.slot.wait_no_more(&state);
            state.refused = false;
        }
        state.answering += 1;
    }
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.slot.slots.under_way.fetch_sub(1, Ordering::Relaxed);
        let mut state = lock(&self.slot.state);
        state.requests -= 1;
        if state.requests == 0 {
            state.idle_since = Instant::now();
        }
        if *self.begun.get_mut() {
            state.answering -= 1;
            if state.answering == 0 {
                self.slot.wait(&mut state);
            }
        }
    }
}
