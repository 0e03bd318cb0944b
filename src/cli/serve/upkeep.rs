//! What a running service does by itself now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::endpoint::discovery::Discovery;
use crate::endpoint::housekeeping::{delete_expired_sessions, delete_expired_tallies, draw_lots};
use crate::endpoint::keys::Keys;
use crate::endpoint::replicas::Replica;
use crate::http::metrics::Metrics;
use crate::http::tls::Certificate;
use crate::store::Store;

/// How often keys, metadata and the certificate are looked at again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(3);
/// How often expired sessions are deleted.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_mins(1);
/// How often the service says that it runs.
const HEARTBEAT_INTERVAL: Duration = Duration::from_mins(1);
/// For how long a service that stops tries to say so.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What the service looks after by itself.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) keys: Arc<Keys>,
    pub(super) discovery: Arc<Discovery>,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) replica: Arc<Replica>,
}

/// Records that this replica runs. If it cannot, it only says so: nothing else depends on it here.
pub(super) async fn record(replica: &Replica) {
    if let Err(error) = replica.record().await {
        tracing::warn!("cannot record in the table replicas that this one runs: {error}");
    }
}

impl Upkeep {
    /// Looks again at what other replicas, the command line or the administrator of the certificate
    /// may have changed, and makes the next signing key if it is due.
    pub(super) async fn look_again(&self) {
        let failed = |what: &str, problem: String| {
            self.metrics.reload_failures.inc();
            tracing::warn!("cannot reload {what}, going on with what is in hand: {problem}");
        };
        if let Err(problem) = self.keys.reload().await {
            failed("the keys", problem);
        }
        if let Err(error) = self.discovery.reload().await {
            failed("the metadata", error.to_string());
        }
        match self.certificate.as_ref().map(|certificate| certificate.reload()) {
            Some(Ok(true)) => tracing::info!("the certificate was read again"),
            Some(Err(problem)) => failed("the certificate", problem),
            Some(Ok(false)) | None => {}
        }
    }

    /// Deletes expired sessions, and counters that say nothing any more; sees that every user has a lot.
    async fn clean(&self) {
        let mut counted = 0;
        let count = |total| {
            self.metrics.sessions_deleted.inc_by(total - counted);
            counted = total;
        };
        if let Err(error) = delete_expired_sessions(&self.store, self.clock.now(), count).await {
            tracing::warn!("cannot delete expired sessions now: {error}");
        }
        if let Err(error) = delete_expired_tallies(&self.store, self.clock.now()).await {
            tracing::warn!("cannot delete old counters of failures now: {error}");
        }
        if let Err(error) = draw_lots(&self.store).await {
            tracing::warn!("cannot draw lots for users now: {error}");
        }
    }

    /// Says that this replica has stopped, when it answers no more.
    pub(super) async fn end(&self) {
        let said = tokio::time::timeout(FAREWELL_TIMEOUT, self.replica.stop()).await;
        let problem = match said {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the database does not answer".to_owned(),
        };
        tracing::warn!("cannot record in the table replicas that this one has stopped: {problem}");
    }

    /// Does all of it now and then.
    pub(super) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let every = |interval| {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut looks, mut cleanings) = (every(RELOAD_INTERVAL), every(HOUSEKEEPING_INTERVAL));
        let mut heartbeats = every(HEARTBEAT_INTERVAL);
        let look = async {
            loop {
                looks.tick().await;
                self.look_again().await;
            }
        };
        let clean = async {
            loop {
                cleanings.tick().await;
                self.clean().await;
            }
        };
        let beat = async {
            // The start has recorded it just now.
            heartbeats.tick().await;
            loop {
                heartbeats.tick().await;
                record(&self.replica).await;
            }
        };
        tokio::select! {
            () = async { tokio::join!(look, clean, beat); } => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}
