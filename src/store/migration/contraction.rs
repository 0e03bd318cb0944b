//! What a migration takes away from older programs.
//!
//! A migration expands: it adds tables, columns and indexes, and older programs go on. A later release contracts: it
//! takes away what only they needed, or writes what they would destroy or misread. The run of such a migration closes the
//! [gate](super::super::gate) to these programs before its first step.

use super::super::gate::{ClosedFor, Closure};
use jeton_oauth::Timestamp;

/// Which programs can go on with the tables after a migration: those that know at least this one. 0 stands for all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contraction {
    /// Programs that know less must not write.
    pub(super) writers_from: i64,
    /// Programs that know less cannot even read. Statements of theirs that still run must fail instead of misreading.
    pub(super) readers_from: i64,
}

impl Contraction {
    /// None: the migration only expands.
    pub(super) const EXPANDS: Self = Self { writers_from: 0, readers_from: 0 };

    /// How the gate must be closed before the first step.
    pub(super) fn closures(self, run: &str, now: Timestamp) -> Vec<Closure> {
        let Self { writers_from, readers_from } = self;
        [(ClosedFor::Outdated, writers_from), (ClosedFor::Unreadable, readers_from)]
            .into_iter()
            .filter(|(_, from)| *from > 0)
            .map(|(reason, from)| Closure::of_migration(reason, from, run, now))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        GATE_MADE, MIGRATIONS, Migration, MigrationError, Run, migrate, newest, status,
    };
    use super::*;
    use crate::gate::{CloseToOlder, ReadGate};
    use crate::{DatabaseLocation, Store, StoreError};
    use jeton_runtime::clock::Clock;

    /// Joined from words, because statements belong in `sql/`.
    const EXPANDING: &str = concat!("ALTER", " TABLE clock ADD COLUMN later TEXT");
    /// It fails, because there is no such table.
    const FAILING: &str = concat!("ALTER", " TABLE nowhere ADD COLUMN later TEXT");

    /// The migrations of a later program: one more that expands, and one that contracts.
    fn later() -> &'static [Migration] {
        let known = newest();
        let of = |version, script, contraction| Migration {
            version,
            name: "later",
            script,
            contraction,
        };
        let contraction = Contraction { writers_from: known + 1, readers_from: 0 };
        let mut all = MIGRATIONS.to_vec();
        all.push(of(known + 1, EXPANDING, Contraction::EXPANDS));
        all.push(of(known + 2, FAILING, contraction));
        all.leak()
    }

    async fn apply(migrations: &'static [Migration], store: &Store) -> Result<(), MigrationError> {
        let run = Run { migrations, ..Run::new("run".to_owned(), &Clock::System) };
        migrate(store, &run).await.map(drop)
    }

    /// The gate is closed before the first step, even if that one fails, and stays closed to all that it was closed to.
    #[tokio::test]
    async fn a_migration_that_contracts_closes_the_gate_first() {
        let name = format!("jeton-contraction-{}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        let store = Store::open(&DatabaseLocation::Sqlite(path.clone())).await.expect("a database");
        let (later, known) = (later(), newest());
        let (_, expanding) = later.split_last().expect("there are some");
        apply(expanding, &store).await.expect("it expands");
        assert!(status(&store).await.expect("it is read").is_newer());
        assert_eq!(store.check_write("one".to_owned()).await, Ok(()));

        assert!(apply(later, &store).await.is_err(), "its step fails");
        let close = |reason, below| Closure::of_migration(reason, below, "other", Timestamp(0));
        let less = CloseToOlder(vec![close(ClosedFor::Outdated, known)]);
        store.perform(less).await.expect("it is read");
        let closure = store.perform(ReadGate).await.expect("it is read").expect("it is closed");
        assert_eq!((closure.reason, closure.closed_below), (ClosedFor::Outdated, known + 1));
        assert!(closure.can_be_read() && status(&store).await.is_ok());
        assert_eq!(store.check_write("one".to_owned()).await, Err(StoreError::Outdated));

        let more = CloseToOlder(vec![close(ClosedFor::Unreadable, known + 1)]);
        store.perform(more).await.expect("it is read");
        let error = status(&store).await.expect_err("it cannot be read");
        assert_eq!(error, MigrationError::TooNew { needed: known + 1, known });
        assert_eq!(store.check_write("one".to_owned()).await, Err(StoreError::Outdated));
        store.close().await;
        std::fs::remove_file(path).expect("it is there");
    }

    #[test]
    fn what_contracts_comes_after_the_gate_and_is_known_to_its_own_program() {
        for Migration { version, contraction, .. } in MIGRATIONS {
            let Contraction { writers_from, readers_from } = *contraction;
            let closes = writers_from.max(readers_from);
            assert!(closes == 0 || *version > GATE_MADE, "{version}");
            assert!(readers_from <= writers_from && writers_from <= *version, "{version}");
        }
    }
}
