//! Whether the caller of a request is still connected.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Whoever waits for the answer holds this. Dropping it means that nobody waits.
#[derive(Debug)]
pub struct Waiting(watch::Sender<()>);

/// Tells a long piece of work whether anyone still waits for it.
#[derive(Clone, Debug)]
pub struct CallerConnection(watch::Receiver<()>);

impl Default for Waiting {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Waiting {
    /// The handle to give to the work.
    #[must_use]
    pub fn caller(&self) -> CallerConnection {
        CallerConnection(self.0.subscribe())
    }
}

impl CallerConnection {
    /// Whether the caller has hung up.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Waits until the caller hangs up, but no longer than `patience`, and returns whether it has hung up. The wait has
    /// ten steps, so that a process that is delayed meanwhile loses only one of them.
    pub async fn is_gone_within(&self, patience: Duration) -> bool {
        const STEPS: u32 = 10;
        let mut caller = self.0.clone();
        for _ in 0..STEPS {
            // Nothing is ever sent, so an error means that [`Waiting`] was dropped.
            let gone = async { while caller.changed().await.is_ok() {} };
            if timeout(patience / STEPS, gone).await.is_ok() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_caller_is_gone_when_nobody_waits() {
        let waiting = Waiting::default();
        let caller = waiting.caller();
        assert!(!caller.is_gone());
        assert!(!caller.is_gone_within(Duration::ZERO).await);
        let (gone, ()) = tokio::join!(caller.is_gone_within(Duration::from_hours(1)), async {
            tokio::task::yield_now().await;
            drop(waiting);
        });
        assert!(gone && caller.is_gone());
    }
}
