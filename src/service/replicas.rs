//! The replicas that share a database. Each records the settings that determine how it publishes keys, so that the
//! others and the command line can take them into account.

use std::sync::Mutex;

use jeton_crypto::random;
use jeton_oauth::{Seconds, Timestamp};
use jeton_runtime::clock::Clock;
use jeton_store::replicas::{
    ForgetReplicas, ListReplicas, RecordReplica, ReplicaSettings, StopReplica, StoredReplica,
};
use jeton_store::{Store, StoreError};

/// How long a replica that has disappeared is remembered: longer than a key set may be cached.
const REMEMBERED_FOR: Seconds = Seconds::new(86_400);

/// This process as a replica.
#[derive(Debug)]
pub struct Replica {
    store: Store,
    clock: Clock,
    /// Its name, drawn at each start.
    id: String,
    settings: ReplicaSettings,
    started_at: Timestamp,
    /// The differences between settings that were last logged.
    warned: Mutex<String>,
}

impl Replica {
    /// A replica that starts now. Nothing is recorded yet.
    #[must_use]
    pub fn new(store: Store, clock: Clock, settings: ReplicaSettings) -> Self {
        let (id, started_at) = (random::replica_id(), clock.now());
        Self { store, clock, id, settings, started_at, warned: Mutex::default() }
    }

    /// Records that this replica runs, and forgets those that were not seen for a day. Logs a warning if settings of
    /// the running replicas differ, and again when the differences change.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read or written.
    pub async fn record(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let (id, settings) = (self.id.clone(), self.settings.clone());
        let record = RecordReplica { id, settings, started_at: self.started_at, now };
        self.store.perform(record).await?;
        let seen_before = Timestamp(now.0.saturating_sub(REMEMBERED_FOR.get()));
        self.store.perform(ForgetReplicas { seen_before }).await?;
        self.warn_of_differences(&running(&self.store, now).await?);
        Ok(())
    }

    /// Records that this replica has stopped.
    ///
    /// # Errors
    /// [`StoreError`]; then this replica counts as running for three more minutes.
    pub async fn stop(&self) -> Result<(), StoreError> {
        let stop = StopReplica { id: self.id.clone(), now: self.clock.now() };
        self.store.perform(stop).await
    }

    fn warn_of_differences(&self, running: &[StoredReplica]) {
        let differing = differences(&self.settings, running);
        let Ok(mut warned) = self.warned.lock() else { return };
        if *warned != differing {
            if !differing.is_empty() {
                tracing::warn!(
                    "the replicas on this database differ in their settings: {differing}; give all \
                     of them the same"
                );
            }
            *warned = differing;
        }
    }
}

/// Says which settings of other replicas differ from these; empty if none does.
fn differences(own: &ReplicaSettings, running: &[StoredReplica]) -> String {
    let mut found: Vec<String> = Vec::new();
    let mut compare = |setting: &str, own: &str, other: &str| {
        let difference = format!("{setting} is {own} here and {other} elsewhere");
        if own != other && !found.contains(&difference) {
            found.push(difference);
        }
    };
    for replica in running {
        let other = &replica.settings;
        compare("--issuer", &own.issuer, &other.issuer);
        for (setting, own, other) in [
            ("--jwks-max-age", own.jwks_max_age, other.jwks_max_age),
            ("--key-rotation", own.key_rotation, other.key_rotation),
        ] {
            compare(setting, &own.to_string(), &other.to_string());
        }
    }
    found.join(", ")
}

/// The running replicas, this one included.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn running(store: &Store, now: Timestamp) -> Result<Vec<StoredReplica>, StoreError> {
    let mut replicas = store.perform(ListReplicas).await?;
    replicas.retain(|replica| replica.runs(now));
    Ok(replicas)
}

/// The extreme settings of the replicas that share a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The longest time for which a verifier may cache a key set of one of them.
    pub jwks_max_age: Seconds,
    /// The shortest time for which one of them uses a signing key.
    pub key_rotation: Seconds,
}

/// The extremes of the replicas whose key sets may still be cached, running or not; `None` if there are none.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn publication(store: &Store, now: Timestamp) -> Result<Option<Publication>, StoreError> {
    let replicas = store.perform(ListReplicas).await?;
    let relied_on = replicas.iter().filter(|replica| replica.is_relied_on(now));
    let settings = || relied_on.clone().map(|replica| &replica.settings);
    let jwks_max_age = settings().map(|settings| settings.jwks_max_age).max();
    let key_rotation = settings().map(|settings| settings.key_rotation).min();
    let pair = jwks_max_age.zip(key_rotation);
    Ok(pair.map(|(jwks_max_age, key_rotation)| Publication { jwks_max_age, key_rotation }))
}
