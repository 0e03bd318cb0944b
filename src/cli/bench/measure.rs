//! Computes hashes in several threads for some time.

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::Failure;
use super::super::layout::Layout;
use jeton_crypto::password::{HashingMemory, Kernel, NewHash, lanes, make_together};
use jeton_oauth::{ScryptCost, Secret};

/// Threads with memory of their own, which compute hashes of one cost.
pub(super) struct Bench {
    memories: Vec<HashingMemory>,
    /// How many hashes each thread has memory for.
    lanes_max: usize,
    cost: ScryptCost,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Measured {
    pub(super) threads: usize,
    pub(super) hashes_at_once: usize,
    /// The memory that it takes, in octets.
    pub(super) memory: u64,
    pub(super) hashes_per_second: f64,
    /// How long one batch takes: the hashes that one thread computes at once.
    pub(super) batch_seconds: f64,
}

impl Bench {
    /// Reserves memory for `lanes_max` hashes at once in each thread, and hashes once, so that all measurements find
    /// the memory already in use.
    ///
    /// # Errors
    /// There is too little memory, or the processor computes wrong hashes.
    pub(super) fn new(
        kernel: Kernel,
        threads: usize,
        lanes_max: usize,
        cost: ScryptCost,
    ) -> Result<Self, Failure> {
        let reserve = |_| HashingMemory::reserve_for(kernel, memory(lanes_max, cost));
        let mut memories = (0..threads).map(reserve).collect::<Result<Vec<_>, _>>()?;
        if let Some(memory) = memories.first_mut() {
            memory.test()?;
        }
        let mut bench = Self { memories, lanes_max, cost };
        bench.measure(lanes_max, Duration::ZERO);
        Ok(bench)
    }

    /// Uses the layout that the service would have for this cost.
    ///
    /// # Errors
    /// As [`Bench::new`].
    pub(super) fn of(layout: &Layout, cost: ScryptCost) -> Result<Self, Failure> {
        let lanes_max = lanes(layout.kernel, layout.memory_per_thread, cost);
        Self::new(layout.kernel, layout.threads, lanes_max, cost)
    }

    /// Measures as many hashes at once as there is memory for.
    pub(super) fn measure_all(&mut self, time: Duration) -> Measured {
        self.measure(self.lanes_max, time)
    }

    /// Measures `lanes` hashes at once for `time`, or for one batch if that takes longer.
    pub(super) fn measure(&mut self, lanes: usize, time: Duration) -> Measured {
        let (cost, end) = (self.cost, Instant::now() + time);
        let batches: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = self
                .memories
                .iter_mut()
                .map(|memory| scope.spawn(move || batch_seconds(lanes, cost, memory, end)))
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        #[expect(clippy::cast_precision_loss, reason = "both are small")]
        let (hashes, threads) = (lanes as f64, batches.len() as f64);
        Measured {
            threads: self.memories.len(),
            hashes_at_once: lanes,
            memory: memory(self.memories.len() * lanes, cost),
            hashes_per_second: batches.iter().map(|seconds| hashes / seconds).sum(),
            batch_seconds: batches.iter().sum::<f64>() / threads,
        }
    }
}

/// The memory of this many hashes, in octets.
pub(super) fn memory(hashes: usize, cost: ScryptCost) -> u64 {
    cost.memory().saturating_mul(u64::try_from(hashes).unwrap_or(u64::MAX))
}

/// The mean duration of a batch in seconds. Batches are begun until `end`, at least one.
fn batch_seconds(lanes: usize, cost: ScryptCost, memory: &mut HashingMemory, end: Instant) -> f64 {
    let password = Secret::new("correct horse battery staple".to_owned());
    let new: Vec<_> = (0..lanes).map(|_| NewHash::of(&password)).collect();
    let (started, mut count) = (Instant::now(), 0.0);
    while count < 1.0 || Instant::now() < end {
        std::hint::black_box(make_together(&new, cost, memory));
        count += 1.0;
    }
    started.elapsed().as_secs_f64() / count
}
