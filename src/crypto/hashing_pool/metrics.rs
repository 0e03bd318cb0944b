//! The metrics of the pool.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::job::Batch;
use crate::password::PasswordHash;

/// The label by which verifications are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FunctionLabels {
    /// One of [`PasswordHash::FUNCTIONS`].
    pub function: &'static str,
}

/// The metrics of the pool.
#[derive(Clone, Debug)]
pub struct HashingMetrics {
    /// Logins that wait for their turn.
    pub queue_depth: Gauge,
    /// Seconds that a login waited before its hash was begun.
    pub wait: Histogram,
    /// Seconds that a batch took.
    pub duration: Histogram,
    /// How many jobs a batch had.
    pub batch_size: Histogram,
    /// Verifications, by the function that was computed.
    pub verified: Family<FunctionLabels, Counter>,
    /// Logins refused because the wait would have been too long.
    pub refused: Counter,
    /// Logins dropped because the caller hung up.
    pub abandoned: Counter,
}

impl HashingMetrics {
    pub(super) fn new() -> Self {
        let verified = Family::default();
        for function in PasswordHash::FUNCTIONS {
            // A counter that was never incremented would be missing instead of 0.
            drop(verified.get_or_create(&FunctionLabels { function }));
        }
        let seconds = || Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0]);
        Self {
            queue_depth: Gauge::default(),
            wait: seconds(),
            duration: seconds(),
            batch_size: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0]),
            verified,
            refused: Counter::default(),
            abandoned: Counter::default(),
        }
    }

    pub(super) fn count_batch(&self, batch: &Batch, seconds: f64) {
        self.duration.observe(seconds);
        #[expect(clippy::cast_precision_loss, reason = "it is small")]
        self.batch_size.observe(batch.jobs.len() as f64);
        for job in batch.jobs.iter().filter(|job| job.replacement.is_none()) {
            self.verified.get_or_create(&FunctionLabels { function: job.function() }).inc();
        }
    }
}
