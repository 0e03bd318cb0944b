//! The room that requests take in memory, from their heads until their answers were taken.
//!
//! Each connection has room for one request of its own, which nobody can take from it. A connection that speaks
//! HTTP/2 may have more under way: those share one budget over all connections, and are refused when that is used
//! up. So memory is bounded by the number of connections, whatever they speak.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::slots::Slot;

/// What a request takes beside head and content: its task, its answer, and what HTTP/2 keeps for a stream.
const REQUEST: usize = 12 * 1_024;
/// What a field of a head takes beside its text.
const FIELD: usize = 160;
/// How often text is in memory while a request is under way: as it came, decoded, and where it is stored.
const COPIES: usize = 3;
/// What a connection takes at most with one request: head and content as long as they may be, another head that has
/// not come whole, answers that nobody takes, and TLS. Measured: `docs/security.md`.
const CONNECTION: usize = 320 * 1_024;
/// What the budget has for each connection that may be open, and at least in all.
const SHARED_PER_CONNECTION: usize = 8 * 1_024;
const SHARED_MIN: usize = 4 << 20;

/// What requests beside the first of each connection may take together, in octets.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    taken: AtomicUsize,
}

impl Budget {
    pub(super) fn new(connections: usize) -> Self {
        Self { most: shared(connections), taken: AtomicUsize::new(0) }
    }

    /// Takes so much, or nothing if there is not so much left.
    pub(super) fn take(&self, octets: usize) -> bool {
        let add = |taken: usize| taken.checked_add(octets).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    pub(super) fn give_back(&self, octets: usize) {
        self.taken.fetch_sub(octets, Ordering::Relaxed);
    }
}

/// The size of the budget of so many connections.
fn shared(connections: usize) -> usize {
    connections.saturating_mul(SHARED_PER_CONNECTION).max(SHARED_MIN)
}

/// The most that so many connections take, with all their requests, in octets.
pub(super) fn bound(connections: usize) -> usize {
    connections.saturating_mul(CONNECTION).saturating_add(shared(connections))
}

/// The room of one request; free again when dropped.
#[derive(Debug)]
pub(super) struct RequestMemory {
    slot: Arc<Slot>,
    /// What it has of the budget; nothing if it has the connection's own.
    shared: Option<AtomicUsize>,
}

impl RequestMemory {
    /// Room for a request with this head; none if it is not the only one of its connection and the budget is used
    /// up.
    pub(super) fn new<C>(slot: &Arc<Slot>, request: &http::Request<C>) -> Option<Arc<Self>> {
        if slot.take_own_memory() {
            return Some(Arc::new(Self { slot: Arc::clone(slot), shared: None }));
        }
        let fields = request.headers().iter();
        let fields =
            fields.map(|(name, value)| FIELD + COPIES * (name.as_str().len() + value.len()));
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let octets = REQUEST + COPIES * target + fields.sum::<usize>();
        let shared = slot.take_shared_memory(octets).then(|| AtomicUsize::new(octets))?;
        Some(Arc::new(Self { slot: Arc::clone(slot), shared: Some(shared) }))
    }

    /// Takes room for more content; whether there was any.
    pub(super) fn grow(&self, length: usize) -> bool {
        let Some(shared) = &self.shared else { return true };
        let octets = COPIES * length;
        let grown = self.slot.take_shared_memory(octets);
        if grown {
            shared.fetch_add(octets, Ordering::Relaxed);
        }
        grown
    }
}

impl Drop for RequestMemory {
    fn drop(&mut self) {
        match &self.shared {
            Some(shared) => {
                self.slot.free_shared_memory(shared.load(Ordering::Relaxed));
            }
            None => self.slot.free_own_memory(),
        }
    }
}
