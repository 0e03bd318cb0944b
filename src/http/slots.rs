//! The connections that may be open at once, and which of them is closed when all are taken: the one
//! that has waited longest for its caller. So nobody keeps others out by holding connections open,
//! and an answer that is being made is never lost. Who was refused and goes on sending is evicted before
//! all others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use super::request_memory::Budget;

/// For how long a connection may wait for its caller before it can be evicted: longer than
/// an answer takes to be written, and an honest caller to go on.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to look for one that may, while there is none.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// For how long nothing must have come, and nothing be under way, before a listener that stops counts as quiet:
/// long enough for a request to follow its connection.
const QUIET: Duration = Duration::from_secs(1);

/// The slots of a listener.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    free: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    /// How many connections and requests have come.
    come: AtomicU64,
    /// How many requests are under way, from the end of their heads until their answers.
    under_way: AtomicUsize,
    budget: Budget,
}

/// Who is evicted before whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It was answered, and what its caller still sends is thrown away.
    Refused,
    /// It waits for its caller, and has several requests under way that have not come whole.
    Sharing,
    /// It waits for its caller.
    Waiting,
}

/// The connections that wait for their callers, longest first.
#[derive(Debug, Default)]
struct Waiting {
    turns: u64,
    connections: BTreeMap<(Rank, u64), (Instant, Arc<Notify>)>,
}

impl Waiting {
    /// Evicts the first of a rank, if it has waited for long enough. Returns whether it did.
    fn evict(&mut self, rank: Rank) -> bool {
        let mut of_rank = self.connections.range((rank, 0)..=(rank, u64::MAX));
        let Some((&key, (since, told))) = of_rank.next() else { return false };
        let tells = rank == Rank::Refused || since.elapsed() >= PATIENCE;
        if tells {
            told.notify_one();
            self.connections.remove(&key);
        }
        tells
    }
}

/// Locks what no panic can leave half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slots {
    /// So many.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let most = most.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(most));
        let (come, under_way) = Default::default();
        let budget = Budget::new(most);
        Arc::new(Self { most, free, waiting: Mutex::default(), come, under_way, budget })
    }

    /// A slot. If none is free, this is told, and another connection is evicted.
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

    /// Evicts a connection: one whose caller was refused, or else the one that has waited longest for its caller,
    /// if that is long enough.
    pub(super) fn evict_one(&self) {
        let ranks = [Rank::Refused, Rank::Sharing, Rank::Waiting];
        let mut waiting = lock(&self.waiting);
        let _ = ranks.into_iter().any(|rank| waiting.evict(rank));
    }

    /// Waits until nothing is under way, and neither a connection nor a request has come for a while.
    pub(super) async fn quiet(&self) {
        let (mut come, mut since) = (self.come.load(Ordering::Relaxed), Instant::now());
        while since.elapsed() < QUIET {
            sleep(LOOK_AGAIN).await;
            let now = self.come.load(Ordering::Relaxed);
            if now != come || self.under_way.load(Ordering::Relaxed) > 0 {
                (come, since) = (now, Instant::now());
            }
        }
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Waits until no connection is open.
    pub(super) async fn all_free(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        self.free.acquire_many(all).await.ok();
    }
}

/// The slot of a connection; free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    state: Mutex<State>,
    told: Arc<Notify>,
    /// Whether a request has the room of its own that each connection has.
    own_memory_taken: AtomicBool,
    /// What its other requests have of the budget.
    shared: AtomicUsize,
    _permit: OwnedSemaphorePermit,
}

/// Whose turn it is on a connection: the caller's while nothing is being answered.
#[derive(Debug)]
struct State {
    answering: usize,
    /// How many requests are under way, from the end of their heads until their answers.
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
        slots.come.fetch_add(1, Ordering::Relaxed);
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
            told: Arc::default(),
            own_memory_taken: AtomicBool::new(false),
            shared: AtomicUsize::new(0),
            _permit: permit,
        };
        slot.wait(&mut lock(&slot.state));
        Arc::new(slot)
    }

    /// From now on it waits for its caller.
    fn wait(&self, state: &mut State) {
        state.since = Instant::now();
        state.rank = self.rank(state);
        let mut waiting = lock(&self.slots.waiting);
        waiting.turns += 1;
        state.turn = waiting.turns;
        let entry = (state.since, Arc::clone(&self.told));
        waiting.connections.insert((state.rank, state.turn), entry);
    }

    /// From now on it does not.
    fn wait_no_more(&self, state: &State) {
        lock(&self.slots.waiting).connections.remove(&(state.rank, state.turn));
    }

    /// Its caller was refused and may still be sending: until it is answered, this connection is evicted before
    /// those of others.
    pub(super) fn evict_first(&self) {
        let mut state = lock(&self.state);
        state.refused = true;
        drop(state);
        self.settle();
    }

    /// Takes the connection's own memory, if no request has it.
    pub(super) fn take_own_memory(&self) -> bool {
        !self.own_memory_taken.swap(true, Ordering::Relaxed)
    }

    /// Gives it back.
    pub(super) fn free_own_memory(&self) {
        self.own_memory_taken.store(false, Ordering::Relaxed);
    }

    /// Takes room for another request from the budget of all connections. If there is not so much, a connection
    /// that has of it is evicted.
    pub(super) fn take_shared_memory(&self, octets: usize) -> bool {
        let taken = self.slots.budget.take(octets);
        if taken {
            self.shared.fetch_add(octets, Ordering::Relaxed);
            self.settle();
        } else {
            lock(&self.slots.waiting).evict(Rank::Sharing);
        }
        taken
    }

    /// Gives it back.
    pub(super) fn free_shared_memory(&self, octets: usize) {
        self.slots.budget.give_back(octets);
        self.shared.fetch_sub(octets, Ordering::Relaxed);
        self.settle();
    }

    /// Takes the rank that it has by now, if it waits.
    fn settle(&self) {
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

    /// Waits until this connection is evicted.
    pub(super) async fn evicted(&self) {
        self.told.notified().await;
    }

    /// Since when no request is under way; nothing while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = lock(&self.state);
        (state.requests == 0).then_some(state.idle_since)
    }

    /// Since when it waits for its caller; nothing while it answers.
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

/// The service's turn to answer a request: from when it has come whole until this is dropped.
#[derive(Debug)]
pub(super) struct RequestUnderWay {
    slot: Arc<Slot>,
    begun: AtomicBool,
}

impl RequestUnderWay {
    /// The turn of a request that is on its way.
    pub(super) fn new(slot: &Arc<Slot>) -> Self {
        slot.slots.come.fetch_add(1, Ordering::Relaxed);
        slot.slots.under_way.fetch_add(1, Ordering::Relaxed);
        lock(&slot.state).requests += 1;
        Self { slot: Arc::clone(slot), begun: AtomicBool::new(false) }
    }

    /// The request has come whole, or no more of it is waited for.
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
