//! Migrations: numbered scripts, applied once each, recorded with a checksum.
//!
//! Many replicas may start at once: they queue at one row, and whoever comes second finds the work
//! done. A database that is up to date is not touched, so its role needs no right to change tables.

use sha2::{Digest, Sha256};

use super::{Access, Store, StoreError, Tx, UseCase, sql};
use crate::clock::Timestamp;

/// A script.
struct Migration {
    version: i64,
    name: &'static str,
    script: &'static str,
}

/// All scripts, in the order of their versions, which have no gap.
const MIGRATIONS: [Migration; 6] = [
    Migration {
        version: 1,
        name: "initial",
        script: include_str!("../../sql/migrations/0001_initial.sql"),
    },
    Migration {
        version: 2,
        name: "sessions",
        script: include_str!("../../sql/migrations/0002_sessions.sql"),
    },
    Migration {
        version: 3,
        name: "login_throttle",
        script: include_str!("../../sql/migrations/0003_login_throttle.sql"),
    },
    Migration {
        version: 4,
        name: "lots",
        script: include_str!("../../sql/migrations/0004_lots.sql"),
    },
    Migration {
        version: 5,
        name: "replicas",
        script: include_str!("../../sql/migrations/0005_replicas.sql"),
    },
    Migration {
        version: 6,
        name: "clock",
        script: include_str!("../../sql/migrations/0006_clock.sql"),
    },
];

/// What the tables need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The newest migration that was applied; 0 for an empty database.
    pub applied: i64,
    /// The newest that this program has.
    pub known: i64,
}

/// The newest version that this program has.
fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// What a database that was not made yet needs.
#[must_use]
pub fn status_of_nothing() -> SchemaStatus {
    SchemaStatus { applied: 0, known: newest() }
}

/// Looks which migrations were applied, and changes nothing.
///
/// # Errors
/// A sentence that says what is wrong with the database and what to do.
pub async fn status(store: &Store) -> Result<SchemaStatus, String> {
    let applied = match store.perform(ListMigrations).await {
        Ok(applied) => applied,
        // A database without the table has had no migration.
        Err(StoreError::Refused(_)) => Vec::new(),
        Err(error) => return Err(error.to_string()),
    };
    check(&applied)
}

/// Brings the tables up to date.
///
/// # Errors
/// A sentence that says what is wrong with the database and what to do.
pub async fn migrate(store: &Store, now: Timestamp) -> Result<SchemaStatus, String> {
    let before = status(store).await?;
    if before.applied == before.known {
        return Ok(before);
    }
    let explain = |error: StoreError| {
        format!(
            "cannot bring the tables from version {} to {}: {error}; run `jeton db migrate` with a \
             role that may create tables, and then start again",
            before.applied, before.known
        )
    };
    // Creating a table that another replica creates at this moment can fail, once.
    if store.perform(PrepareMigrations { now }).await.is_err() {
        store.perform(PrepareMigrations { now }).await.map_err(explain)?;
    }
    let applied = store.perform(ApplyMigrations { now }).await.map_err(explain)?;
    check(&applied)
}

/// Holds what was applied against what this program has.
fn check(applied: &[(i64, String)]) -> Result<SchemaStatus, String> {
    for (version, recorded) in applied {
        let Some(own) = MIGRATIONS.iter().find(|migration| migration.version == *version) else {
            return Err(format!(
                "its tables are of version {version} and this jeton knows only up to {}: use a newer \
                 jeton",
                newest()
            ));
        };
        if *recorded != checksum(own) {
            return Err(format!(
                "migration {version} ({}) was applied from another text than this jeton has: use the \
                 jeton that the database was made with",
                own.name
            ));
        }
    }
    let applied = applied.iter().map(|(version, _)| *version).max().unwrap_or(0);
    Ok(SchemaStatus { applied, known: newest() })
}

fn checksum(migration: &Migration) -> String {
    use std::fmt::Write;
    Sha256::digest(migration.script).iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").ok();
        text
    })
}

async fn list(tx: &mut Tx<'_>) -> Result<Vec<(i64, String)>, StoreError> {
    let rows = tx.query(&sql::LIST_MIGRATIONS, &[]).await?;
    rows.iter().map(|row| Ok((row.integer(0)?, row.text(1)?))).collect()
}

struct ListMigrations;

impl UseCase for ListMigrations {
    type Outcome = Vec<(i64, String)>;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        list(tx).await
    }
}

struct PrepareMigrations {
    now: Timestamp,
}

impl UseCase for PrepareMigrations {
    type Outcome = ();

    fn access(&self) -> Access {
        Access::Transaction
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.execute(&sql::CREATE_MIGRATION_TABLE, &[]).await?;
        tx.execute(&sql::INSERT_MIGRATION_GUARD, &[self.now.into()]).await.map(|_| ())
    }
}

struct ApplyMigrations {
    now: Timestamp,
}

impl UseCase for ApplyMigrations {
    type Outcome = Vec<(i64, String)>;

    fn access(&self) -> Access {
        Access::Transaction
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        // Waits here for whoever was first, and then sees what was done.
        tx.execute(&sql::LOCK_MIGRATION_GUARD, &[self.now.into()]).await?;
        let mut applied = list(tx).await?;
        for migration in &MIGRATIONS {
            if applied.iter().any(|(version, _)| *version == migration.version) {
                continue;
            }
            tx.run_script(migration.script).await?;
            let checksum = checksum(migration);
            let values = [
                migration.version.into(),
                migration.name.into(),
                (&checksum).into(),
                self.now.into(),
            ];
            tx.execute(&sql::INSERT_MIGRATION, &values).await?;
            applied.push((migration.version, checksum));
        }
        Ok(applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_no_gap_and_checksums_are_compared() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(migration.version), Ok(index + 1));
        }
        let right = (1, checksum(&MIGRATIONS[0]));
        assert_eq!(check(&[]).map(|status| status.applied), Ok(0));
        assert_eq!(check(&[right]).map(|status| status.applied), Ok(1));
        assert!(
            check(&[(1, "other".to_owned())]).is_err_and(|error| error.contains("another text"))
        );
        assert!(check(&[(99, String::new())]).is_err_and(|error| error.contains("newer")));
    }
}
