//! What the pool counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::job::Batch;
use crate::password::PasswordHash;

/// What verifications are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FunctionLabels {
    /// `scrypt`, `bcrypt`, `pbkdf2` or `argon2`.
    pub function: &'static str,
}

/// What the pool tells of itself.
#[derive(Clone, Debug)]
pub struct HashingMetrics {
    /// Logins that wait for their turn.
    pub queue_depth: Gauge,
    /// Seconds from asking to the start of the hash.
    pub wait: Histogram,
    /// Seconds that a batch took.
    pub duration: Histogram,
    /// How many were computed in a batch.
    pub batch_size: Histogram,
    /// Verifications done, by what was computed.
    pub verified: Family<FunctionLabels, Counter>,
    /// Logins refused because the wait would have been too long.
    pub refused: Counter,
    /// Logins dropped because the caller had hung up.
    pub abandoned: Counter,
}

impl HashingMetrics {
    pub(super) fn new() -> Self {
        let verified = Family::default();
        for function in PasswordHash::FUNCTIONS {
            // What was never counted would be missing, and not 0.
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

    /// Counts a batch that was computed.
    pub(super) fn count_batch(&self, batch: &Batch, seconds: f64) {
        self.duration.observe(seconds);
        #[expect(clippy::cast_precision_loss, reason = "it is small")]
        self.batch_size.observe(batch.jobs.len() as f64);
        for job in batch.jobs.iter().filter(|job| job.replacement.is_none()) {
            self.verified.get_or_create(&FunctionLabels { function: job.function() }).inc();
        }
    }
}
