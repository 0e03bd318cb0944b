//! The replicas that share the database, with the settings by which each publishes keys.

use serde::{Deserialize, Serialize};

use super::value::Row;
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::{Seconds, Timestamp};

/// How long after it was last seen a replica counts as running. It records itself once a minute.
const RUNNING_FOR: Seconds = Seconds::new(180);

/// The settings of a replica that other replicas and the command line must know. Later versions may add members, and
/// must keep these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSettings {
    /// The version of the program.
    pub version: String,
    /// The issuer.
    pub issuer: String,
    /// How long it lets verifiers cache the key set.
    pub jwks_max_age: Seconds,
    /// How long it uses a signing key.
    pub key_rotation: Seconds,
    /// The newest migration that it knows; 0 for version 0.2.0 and before, which write whether the
    /// [gate](crate::gate) is closed or not.
    #[serde(default)]
    pub knows_migration: i64,
}

/// A replica as stored. Serialised, it is what the command line prints.
#[derive(Clone, Debug, Serialize)]
pub struct StoredReplica {
    /// Its name, random at each start.
    #[serde(rename = "replica_id")]
    pub id: String,
    /// Its settings.
    pub settings: ReplicaSettings,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it last recorded that it runs.
    pub seen_at: Timestamp,
    /// When it was stopped, if it was stopped in an orderly way.
    pub stopped_at: Option<Timestamp>,
}

impl StoredReplica {
    /// Whether it runs: it was not stopped, and was seen in the last three minutes. If its clock is ahead of this one,
    /// it counts as seen now.
    #[must_use]
    pub fn runs(&self, now: Timestamp) -> bool {
        self.stopped_at.is_none() && now.since(self.seen_at) <= RUNNING_FOR
    }

    /// Whether a verifier may still use a key set of this replica: it runs, or its key sets have not expired since it
    /// was last seen running.
    #[must_use]
    pub fn is_relied_on(&self, now: Timestamp) -> bool {
        let published_until = match self.stopped_at {
            Some(at) => at,
            None => self.seen_at.after(RUNNING_FOR),
        };
        now <= published_until.after(self.settings.jwks_max_age)
    }

    /// Reads a row; `None` if only a later version can read its settings.
    fn read(row: &Row) -> Result<Option<Self>, StoreError> {
        let Ok(settings) = row.json("settings") else { return Ok(None) };
        Ok(Some(Self {
            id: row.get("replica_id")?,
            settings,
            started_at: row.get("started_at")?,
            seen_at: row.get("seen_at")?,
            stopped_at: row.get("stopped_at")?,
        }))
    }
}

/// Records that a replica runs, and with which settings.
#[derive(Debug)]
pub struct RecordReplica {
    /// The name of the replica.
    pub id: String,
    /// The settings by which it publishes keys.
    pub settings: ReplicaSettings,
    /// When the process started.
    pub started_at: Timestamp,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for RecordReplica {
    type Outcome = ();
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let settings = serde_json::to_string(&self.settings).expect("settings are JSON");
        let values =
            [(&self.id).into(), (&settings).into(), self.started_at.into(), self.now.into()];
        tx.execute(&sql::RECORD_REPLICA, &values).await.map(|_| ())
    }
}

/// Records that a replica was stopped.
#[derive(Debug)]
pub struct StopReplica {
    /// The name of the replica.
    pub id: String,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for StopReplica {
    type Outcome = ();
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.execute(&sql::STOP_REPLICA, &[(&self.id).into(), self.now.into()]).await.map(|_| ())
    }
}

/// Lists all replicas, also those that have stopped, in the order of their starts.
#[derive(Debug)]
pub struct ListReplicas;

impl UseCase for ListReplicas {
    type Outcome = Vec<StoredReplica>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StoredReplica>, StoreError> {
        let rows = tx.query(&sql::LIST_REPLICAS, &[]).await?;
        rows.iter().filter_map(|row| StoredReplica::read(row).transpose()).collect()
    }
}

/// Deletes replicas last seen before this moment, and returns how many. One that still runs records itself again.
#[derive(Debug)]
pub struct ForgetReplicas {
    /// When a replica must have been seen to stay.
    pub seen_before: Timestamp,
}

impl UseCase for ForgetReplicas {
    type Outcome = u64;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        tx.execute(&sql::FORGET_REPLICAS, &[self.seen_before.into()]).await
    }
}
