//! A service of a few lines, right or with one bug, that shows what the checker catches. Its requests
//! take turns as a seed has it, so the same seed has the same history.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rand::RngExt;
use rand::rngs::StdRng;

use crate::clients::{Patience, Service};
use crate::harness::chance::choices;
use crate::model::{Answer, Call, Moment};

/// What is wrong with a simulated service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// A refresh writes what follows from the row that it read, whatever the row is by then.
    SetWithoutCompare,
    /// A retry is answered from what the replica remembers of a session that has ended.
    RetryIgnoresEnd,
    /// A token that was used before is refused, and its session lives on.
    ReuseEndsNothing,
    /// An introspection is answered from what the replica remembers.
    IntrospectionRemembers,
    /// Sometimes the answer goes out and the write is lost.
    WriteIsLost,
}

/// The row of a session, until it has ended.
type Row = Option<i64>;

/// A session, and what each replica remembers of it.
#[derive(Default)]
struct Table {
    row: Row,
    remembered: HashMap<usize, i64>,
}

struct Simulated {
    bug: Option<Bug>,
    clock: Arc<AtomicU64>,
    random: Arc<Mutex<StdRng>>,
}

/// One request at work.
struct Handler {
    bug: Option<Bug>,
    clock: Arc<AtomicU64>,
    random: Arc<Mutex<StdRng>>,
    table: Arc<Mutex<Table>>,
    replica: usize,
}

async fn pass(clock: &AtomicU64, turns: u64) {
    for _ in 0..turns {
        clock.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

impl Handler {
    fn chance(&self, percent: u32) -> bool {
        self.random.lock().expect("no panic").random_ratio(percent, 100)
    }

    /// Reads the row, and takes its time until what follows.
    async fn read(&self) -> Row {
        pass(&self.clock, 3).await;
        let row = {
            let mut table = self.table.lock().expect("no panic");
            if let Some(generation) = table.row {
                table.remembered.insert(self.replica, generation);
            }
            table.row
        };
        let stalls = self.chance(10);
        pass(&self.clock, if stalls { 1_500 } else { 10 }).await;
        row
    }

    fn remembered(&self) -> Row {
        self.table.lock().expect("no panic").remembered.get(&self.replica).copied()
    }

    fn end(&self) {
        self.table.lock().expect("no panic").row = None;
    }

    async fn answer(self, call: Call) -> Answer {
        match call {
            Call::Refresh(of) => self.refresh(of).await,
            Call::Revoke => {
                self.read().await;
                self.end();
                Answer::Revoked
            }
            Call::IntrospectAccessToken | Call::IntrospectRefreshToken(_) => {
                let remembered = self.remembered();
                let row = match self.bug {
                    Some(Bug::IntrospectionRemembers) if remembered.is_some() => remembered,
                    _ => self.read().await,
                };
                let is_good = |generation| match call {
                    Call::IntrospectRefreshToken(of) => of >= generation,
                    _ => true,
                };
                if row.is_some_and(is_good) { Answer::Active } else { Answer::Inactive }
            }
        }
    }

    async fn refresh(&self, of: i64) -> Answer {
        loop {
            let remembered = self.remembered();
            let Some(read) = self.read().await else {
                let retry = self.bug == Some(Bug::RetryIgnoresEnd) && remembered == Some(of + 1);
                return if retry { Answer::Token(of + 1) } else { Answer::Refused };
            };
            if of == read - 1 {
                return Answer::Token(read);
            }
            if of < read {
                if self.bug != Some(Bug::ReuseEndsNothing) {
                    self.end();
                }
                return Answer::Refused;
            }
            let lost = self.bug == Some(Bug::WriteIsLost) && self.chance(5);
            let mut table = self.table.lock().expect("no panic");
            let same = table.row == Some(read);
            if same || (self.bug == Some(Bug::SetWithoutCompare) && table.row.is_some()) {
                table.row = if lost { table.row } else { Some(of + 1) };
                return Answer::Token(of + 1);
            }
        }
    }
}

impl Service for Simulated {
    type Session = Arc<Mutex<Table>>;

    fn now(&self) -> Moment {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    async fn open(&self, _: usize) -> Option<Self::Session> {
        Some(Arc::new(Mutex::new(Table { row: Some(0), ..Table::default() })))
    }

    async fn ask(
        &self,
        session: &Self::Session,
        replica: usize,
        call: Call,
        patience: Patience,
    ) -> Answer {
        let (clock, random) = (Arc::clone(&self.clock), Arc::clone(&self.random));
        let table = Arc::clone(session);
        let handler = Handler { bug: self.bug, clock, random, table, replica };
        let gives_up = patience == Patience::Short && handler.chance(5);
        let answer = tokio::spawn(handler.answer(call));
        if gives_up {
            pass(&self.clock, 5).await;
            return Answer::Unknown;
        }
        answer.await.expect("no panic")
    }

    fn stood_still(&self, _: usize, _: Moment) -> bool {
        false
    }

    async fn rest(&self, milliseconds: u64) {
        pass(&self.clock, milliseconds).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{Violation, check};
    use crate::clients::live;
    use crate::harness::chance::seed;
    use crate::model::Rules;

    /// How many sessions a right service is held against the model for.
    const SESSIONS: u64 = 100;
    /// How many a wrong one may get through.
    const SESSIONS_OF_BUG: u64 = 2_000;

    /// Lives through sessions until one does not fit the model.
    fn violation(
        random: &mut StdRng,
        bug: Option<Bug>,
        reuse_ends: bool,
        sessions: u64,
    ) -> Option<Violation> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("one thread");
        (0..sessions).find_map(|_| {
            let clock = Arc::default();
            let own = Arc::new(Mutex::new(choices(random.random())));
            let service = Arc::new(Simulated { bug, clock, random: own });
            let rules = Rules { retry_window: None, late_tab_window: None, reuse_ends };
            let history = runtime.block_on(live(service, 2, rules, random.random()));
            check(&history.expect("a login is answered")).err()
        })
    }

    #[test]
    fn a_right_service_fits_the_model() {
        let mut random = choices(seed());
        for reuse_ends in [true, false] {
            if let Some(violation) = violation(&mut random, None, reuse_ends, SESSIONS) {
                panic!("{violation}");
            }
        }
    }

    #[test]
    fn each_bug_is_caught() {
        let mut random = choices(seed());
        for bug in [
            Bug::SetWithoutCompare,
            Bug::RetryIgnoresEnd,
            Bug::ReuseEndsNothing,
            Bug::IntrospectionRemembers,
            Bug::WriteIsLost,
        ] {
            let violation = violation(&mut random, Some(bug), true, SESSIONS_OF_BUG);
            assert!(violation.is_some(), "{bug:?} was not seen");
        }
    }
}
