//! What a running service does by itself now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::Timestamp;
use crate::endpoint::agreed_clock::AgreedClock;
use crate::endpoint::discovery::Discovery;
use crate::endpoint::housekeeping::{delete_expired_sessions, delete_expired_tallies, draw_lots};
use crate::endpoint::keys::Keys;
use crate::endpoint::replicas::Replica;
use crate::http::metrics::Metrics;
use crate::http::tls::Certificate;
use crate::store::Store;

/// How often keys, metadata and the certificate are looked at again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(3);
/// How often the clock is held against the second one.
const CLOCK_INTERVAL: Duration = Duration::from_secs(2);
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
    pub(super) clock: Arc<AgreedClock>,
    pub(super) keys: Arc<Keys>,
    pub(super) discovery: Arc<Discovery>,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) replica: Arc<Replica>,
}

/// Records that this replica runs, unless its clock is off: others would take it for another time. If that
/// fails it only says so: nothing else depends on it here.
pub(super) async fn record(replica: &Replica, clock: &AgreedClock) {
    if clock.now().is_err() {
        return;
    }
    if let Err(error) = replica.record().await {
        tracing::warn!("cannot record in the table replicas that this one runs: {error}");
    }
}

impl Upkeep {
    /// Holds the clock against the second one.
    pub(super) async fn measure_clock(&self) {
        if let Err(error) = self.clock.measure().await {
            tracing::debug!("cannot compare the clock now: {error}");
        }
    }

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
    /// Deletes nothing by a clock that is not proven.
    pub(super) async fn clean(&self) {
        if let Some(before) = self.clock.deletable_before() {
            self.delete(before).await;
        }
        if let Err(error) = draw_lots(&self.store).await {
            tracing::warn!("cannot draw lots for users now: {error}");
        }
    }

    async fn delete(&self, before: Timestamp) {
        let mut counted = 0;
        let count = |total| {
            self.metrics.sessions_deleted.inc_by(total - counted);
            counted = total;
        };
        if let Err(error) = delete_expired_sessions(&self.store, before, count).await {
            tracing::warn!("cannot delete expired sessions now: {error}");
        }
        if let Err(error) = delete_expired_tallies(&self.store, before).await {
            tracing::warn!("cannot delete old counters of failures now: {error}");
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
        let all = async {
            tokio::join!(
                every(CLOCK_INTERVAL, || self.measure_clock()),
                every(RELOAD_INTERVAL, || self.look_again()),
                every(HOUSEKEEPING_INTERVAL, || self.clean()),
                every(HEARTBEAT_INTERVAL, || record(&self.replica, &self.clock)),
            )
        };
        tokio::select! {
            _ = all => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Does something now and then, for ever. One that takes long delays the next.
async fn every<F: Future<Output = ()>>(interval: Duration, act: impl Fn() -> F) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        act().await;
    }
}
