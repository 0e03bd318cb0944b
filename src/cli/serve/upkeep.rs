//! What a running service does by itself now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::{Clock, Seconds};
use crate::endpoint::discovery::Discovery;
use crate::endpoint::housekeeping::{delete_expired_sessions, delete_expired_tallies, draw_lots};
use crate::endpoint::keys::Keys;
use crate::http::metrics::Metrics;
use crate::http::tls::{Certificate, Validity};
use crate::store::Store;
use crate::supervision::{Health, supervise};

/// How often keys, metadata and the certificate are looked at again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(3);
/// How often expired sessions are deleted.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_mins(1);
/// How often it is told that the certificate cannot be read.
const UNREADABLE_INTERVAL: Seconds = Seconds::new(3_600);
/// How often it is told that clients refuse the certificate for its dates.
const REFUSED_INTERVAL: Seconds = Seconds::new(86_400);

/// What the service looks after by itself.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) keys: Arc<Keys>,
    pub(super) discovery: Arc<Discovery>,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) metrics: Arc<Metrics>,
    /// What was told of the certificate, and when.
    pub(super) told: Mutex<Told>,
}

/// What was told of the certificate.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Why it could not be read, and when that was told.
    unreadable: Option<(String, Seconds)>,
    /// When it was told that clients refuse it.
    refused: Option<Seconds>,
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
        if let Some(certificate) = &self.certificate {
            self.look_at(certificate);
        }
    }

    /// Takes a certificate that was renewed. A problem that lasts is told once an hour, bad dates once a day.
    fn look_at(&self, certificate: &Certificate) {
        let elapsed = self.clock.elapsed();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match certificate.reload() {
            Ok(taken) => {
                if taken || told.unreadable.take().is_some() {
                    let Validity { not_before, not_after } = certificate.validity();
                    tracing::info!(%not_before, %not_after, "the certificate was read again");
                    told.refused = None;
                }
            }
            Err(problem) => {
                self.metrics.reload_failures.inc();
                let is_new = told.unreadable.as_ref().is_none_or(|(last, at)| {
                    *last != problem || elapsed.since(*at) >= UNREADABLE_INTERVAL
                });
                if is_new {
                    tracing::warn!("going on with the certificate in use: {problem}");
                    told.unreadable = Some((problem, elapsed));
                }
            }
        }
        let is_due = told.refused.is_none_or(|at| elapsed.since(at) >= REFUSED_INTERVAL);
        if is_due && let Some(problem) = certificate.validity().problem(self.clock.now()) {
            tracing::warn!("{problem}");
            told.refused = Some(elapsed);
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

    /// Does both now and then, each as a part of the service.
    pub(super) fn start(self: &Arc<Self>, health: &Health, stop: &watch::Receiver<bool>) {
        let (upkeep, stopping) = (Arc::clone(self), stop.clone());
        supervise("reload", health, move || {
            let upkeep = Arc::clone(&upkeep);
            every(RELOAD_INTERVAL, stopping.clone(), move || {
                let upkeep = Arc::clone(&upkeep);
                async move { upkeep.look_again().await }
            })
        });
        let (upkeep, stopping) = (Arc::clone(self), stop.clone());
        supervise("housekeeping", health, move || {
            let upkeep = Arc::clone(&upkeep);
            every(HOUSEKEEPING_INTERVAL, stopping.clone(), move || {
                let upkeep = Arc::clone(&upkeep);
                async move { upkeep.clean().await }
            })
        });
    }
}

/// Does something at once and then now and then, until the service stops.
async fn every<F: Future<Output = ()>>(
    interval: Duration,
    mut stop: watch::Receiver<bool>,
    act: impl Fn() -> F,
) -> Result<(), String> {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let acting = async {
        loop {
            ticks.tick().await;
            act().await;
        }
    };
    tokio::select! {
        () = acting => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    Ok(())
}
