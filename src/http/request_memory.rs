//! The memory that requests take, from their heads until their answers were taken.
//!
//! Each connection has memory for one request of its own. Further requests of an HTTP/2 connection share one budget
//! with those of all connections, and are refused when it is used up. So the number of connections limits the memory,
//! whatever protocol they use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::slots::Slot;

/// What a request takes besides head and content: its task, its answer, and the state of an HTTP/2 stream.
const REQUEST: usize = 12 * 1_024;
/// What a header field takes besides its text.
const FIELD: usize = 160;
/// How many copies of text are in memory during a request: as it came, decoded, and where it is stored.
const COPIES: usize = 3;
/// The most that a connection with one request takes: head and content of the largest size, another incomplete head,
/// answers that nobody takes, and TLS. Measured: `docs/security.md`.
const CONNECTION: usize = 320 * 1_024;
/// The size of the budget for each connection that may be open, and its minimum.
const SHARED_PER_CONNECTION: usize = 8 * 1_024;
const SHARED_MIN: usize = 4 << 20;

/// The memory of all requests but the first of each connection, in octets.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    taken: AtomicUsize,
}

impl Budget {
    pub(super) fn new(connections: usize) -> Self {
        Self { most: shared(connections), taken: AtomicUsize::new(0) }
    }

    /// Takes so many octets. If fewer are left, takes none and returns `false`.
    pub(super) fn take(&self, octets: usize) -> bool {
        let add = |taken: usize| taken.checked_add(octets).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    pub(super) fn give_back(&self, octets: usize) {
        self.taken.fetch_sub(octets, Ordering::Relaxed);
    }
}

fn shared(connections: usize) -> usize {
    connections.saturating_mul(SHARED_PER_CONNECTION).max(SHARED_MIN)
}

/// The most octets that so many connections take, with all their requests.
pub(super) fn bound(connections: usize) -> usize {
    connections.saturating_mul(CONNECTION).saturating_add(shared(connections))
}

/// The memory of one request. Dropping it frees the memory.
#[derive(Debug)]
pub(super) struct RequestMemory {
    slot: Arc<Slot>,
    /// The octets it has of the budget; `None` if it has the connection's own memory.
    shared: Option<AtomicUsize>,
}

impl RequestMemory {
    /// Memory for a request with this head. `None` if its connection has another request and the budget is used up.
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

    /// Takes memory for more content. Returns whether there was enough.
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
