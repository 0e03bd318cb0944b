//! Whether the caller of a request is still there to hear the answer.

use std::sync::{Arc, Weak};

/// Held by whoever waits for the answer; dropping it means that nobody does.
#[derive(Debug, Default)]
pub struct Waiting(Arc<()>);

/// Tells a long piece of work whether anyone still waits for it.
#[derive(Clone, Debug)]
pub struct Presence(Weak<()>);

impl Waiting {
    /// What to hand to the work.
    #[must_use]
    pub fn presence(&self) -> Presence {
        Presence(Arc::downgrade(&self.0))
    }
}

impl Presence {
    /// Whether the caller has hung up.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}
