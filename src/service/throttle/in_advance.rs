//! Attempts that are counted as failed before they are made: those of commands.
//!
//! Permits hold within one process, and each command is a process of its own. So the database decides: whoever starts
//! many commands at once gets no more guesses than with one after the other.

use super::Attempt;
use super::counters::Counter;
use crate::Refusal;
use jeton_oauth::Reason;
use jeton_oauth::throttle::{Counted, CounterName, FailureCounter};
use jeton_store::throttle::{CountAndRead, TakeFailuresBack};

/// An attempt that is counted as failed. If it does fail, there is nothing more to tell.
#[derive(Debug)]
#[must_use = "tell if it succeeded"]
pub struct CountedAttempt<'a> {
    attempt: Attempt<'a>,
    /// Where it is counted although there was no wait.
    counted: Vec<CounterName>,
}

impl<'a> Attempt<'a> {
    /// Counts the attempt as failed, before it is made.
    ///
    /// # Errors
    /// As [`Throttle::admit`](super::Throttle::admit), if others were counted at the same moment and no failure is free
    /// any more.
    pub async fn count_in_advance(self) -> Result<CountedAttempt<'a>, Refusal> {
        let (throttle, now) = (self.throttle, self.throttle.clock.now());
        let counters = self.uncounted(now);
        let stored = throttle.store.perform(CountAndRead(self.count_at(&counters, now))).await?;
        let names = counters.iter().map(|counter| counter.name).collect();
        let attempt = CountedAttempt { attempt: self, counted: names };
        for (Counter { counted, .. }, stored) in counters.into_iter().zip(stored) {
            if stored.strikes(now) > counted.free() {
                attempt.take_back().await?;
                return Err(too_many(counted, stored, now));
            }
        }
        Ok(attempt)
    }
}

fn too_many(counted: Counted, stored: FailureCounter, now: jeton_oauth::Timestamp) -> Refusal {
    match counted {
        Counted::Account | Counted::AccountAtOrigin => Reason::ThrottledAccount.into(),
        counted => {
            Refusal::Throttled { counted, retry_after: stored.waits_until(counted).since(now) }
        }
    }
}

impl CountedAttempt<'_> {
    /// The attempt was right: what was counted in advance is taken back. For the rest see
    /// [`Attempt::succeeded`].
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if that could not be stored.
    pub async fn succeeded(self) -> Result<(), Refusal> {
        self.take_back().await?;
        self.attempt.succeeded(false).await
    }

    async fn take_back(&self) -> Result<(), Refusal> {
        let back = TakeFailuresBack(self.counted.clone());
        Ok(self.attempt.throttle.store.perform(back).await?)
    }
}
