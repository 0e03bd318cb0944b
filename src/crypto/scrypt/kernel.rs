//! The code that mixes, which differs from processor to processor.

/// Which vector instructions compute the hashes, and how many hashes they compute at once at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    lanes: usize,
}

impl Kernel {
    /// The fastest one that this processor can run.
    #[must_use]
    pub fn best() -> Self {
        Self { lanes: 1 }
    }

    /// All that this processor can run, the fastest one first.
    pub fn all_here() -> impl Iterator<Item = Self> {
        [Self::best()].into_iter()
    }

    /// The same instructions for at most so many hashes at once.
    #[must_use]
    pub fn at_most(self, lanes: usize) -> Self {
        Self { lanes: self.lanes.min(lanes).max(1) }
    }

    /// What it is called in logs and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        "plain"
    }

    /// How many hashes at once make most hashes a second.
    #[must_use]
    pub fn lanes(self) -> usize {
        self.lanes
    }
}
