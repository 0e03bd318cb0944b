//! Waiting for the guard while another run works.

use std::convert::Infallible;
use std::time::Instant;

use tokio::time::sleep;

use super::super::{Store, StoreError, stopped};
use super::guard::{FindGuard, Guard, MakeGuard, MakeTable, PATIENCE, TakeGuard};
use super::{LOOK_EVERY, Run};

/// A run that does not hold the guard.
pub(super) struct Waiting<'a> {
    store: &'a Store,
    run: &'a Run<'a>,
    started: Instant,
    /// The guard as it was last read, and since when it has not changed.
    seen: Option<(Guard, Instant)>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(store: &'a Store, run: &'a Run<'a>) -> Self {
        Self { store, run, started: Instant::now(), seen: None }
    }

    /// Takes the guard if it is free, or if it has not changed for so long that nobody works.
    pub(super) async fn take_guard(&mut self) -> Result<Option<Guard>, StoreError> {
        let guard = self.look().await?;
        if self.is_at_rest(&guard) {
            let take = TakeGuard { runner: self.run.runner.clone(), seen: guard.clone() };
            let taken = tokio::select! {
                taken = self.store.perform(take) => taken,
                never = self.keep_saying(&guard) => match never {},
                () = stopped(&self.run.stop) => return Ok(None),
            };
            match taken {
                Ok(true) => return Ok(Some(guard)),
                Ok(false) => {}
                // The holder has locked SQLite.
                Err(StoreError::Unavailable(_)) if !guard.is_free() => {}
                Err(error) => return Err(error),
            }
        }
        self.say(&guard);
        Ok(None)
    }

    fn say(&self, guard: &Guard) {
        (self.run.say)(&format!(
            "another jeton brings the tables up to date, {}: waiting for {} s",
            guard.position.place(),
            self.started.elapsed().as_secs()
        ));
    }

    async fn keep_saying(&self, guard: &Guard) -> Infallible {
        loop {
            sleep(LOOK_EVERY).await;
            self.say(guard);
        }
    }

    /// Whether nobody works: the guard is free, or has not changed for long.
    pub(super) fn is_at_rest(&self, guard: &Guard) -> bool {
        let seen = self.seen.as_ref().filter(|(seen, _)| seen == guard);
        guard.is_free() || seen.is_some_and(|(_, since)| since.elapsed() >= PATIENCE)
    }

    /// Reads the guard, and remembers since when it has not changed.
    pub(super) async fn look(&mut self) -> Result<Guard, StoreError> {
        let guard = self.find_guard().await?;
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != guard) {
            self.seen = Some((guard.clone(), Instant::now()));
        }
        Ok(guard)
    }

    async fn find_guard(&self) -> Result<Guard, StoreError> {
        let found = match self.store.perform(FindGuard).await {
            Err(StoreError::NoTable(_)) => {
                // This can fail once if another replica creates the table at the same moment.
                if self.store.perform(MakeTable).await.is_err() {
                    self.store.perform(MakeTable).await?;
                }
                None
            }
            found => found?,
        };
        if let Some(guard) = found {
            return Ok(guard);
        }
        self.store.perform(MakeGuard { now: self.run.clock.now() }).await?;
        let made = self.store.perform(FindGuard).await?;
        made.ok_or_else(|| StoreError::Corrupt("the guard of the migrations is gone".to_owned()))
    }
}
