//! Upkeep: what a running service does by itself in intervals.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::super::migrating;
use jeton_http::metrics::Metrics;
use jeton_http::tls::{Certificate, Validity};
use jeton_oauth::{Seconds, Timestamp};
use jeton_runtime::supervision::{Health, supervise};
use jeton_service::agreed_clock::AgreedClock;
use jeton_service::housekeeping::{
    Pace, delete_expired_counters, delete_expired_sessions, delete_old_acts, draw_decoy_numbers,
};
use jeton_service::keys::Keys;
use jeton_service::metadata::Discovery;
use jeton_service::replicas::Replica;
use jeton_store::{Store, migration};

/// How often keys, metadata and the certificate are reloaded.
const RELOAD_INTERVAL: Duration = Duration::from_secs(3);
/// How often the clock is compared with the second one.
const CLOCK_INTERVAL: Duration = Duration::from_secs(2);
/// How often expired sessions are deleted.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_mins(1);
/// How often the service records that it runs.
const HEARTBEAT_INTERVAL: Duration = Duration::from_mins(1);
/// How long a service that stops tries to record that.
const STOP_RECORD_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is logged that the certificate cannot be read.
const UNREADABLE_INTERVAL: Seconds = Seconds::new(3_600);
/// How often it is logged that clients refuse the certificate because of its dates.
const REFUSED_INTERVAL: Seconds = Seconds::new(86_400);

/// The jobs of the upkeep and what they need.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) store: Store,
    pub(super) clock: Arc<AgreedClock>,
    pub(super) keys: Arc<Keys>,
    pub(super) discovery: Arc<Discovery>,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) replica: Arc<Replica>,
    /// The version of the tables that was last said to be in use.
    pub(super) tables: AtomicI64,
    pub(super) logged: Mutex<Logged>,
}

/// What was last logged about the certificate, and when.
#[derive(Debug, Default)]
pub(super) struct Logged {
    /// Why it could not be read.
    unreadable: Option<(String, Seconds)>,
    /// That clients refuse it.
    refused: Option<Seconds>,
}

/// Records that this replica runs, unless its clock is off: others would see a wrong date. A failure is only logged,
/// since nothing here depends on the record.
pub(super) async fn record(replica: &Replica, clock: &AgreedClock) {
    if clock.now().is_err() {
        return;
    }
    if let Err(error) = replica.record().await {
        tracing::warn!("cannot record in the table replicas that this one runs: {error}");
    }
}

impl Upkeep {
    pub(super) async fn measure_clock(&self) {
        if let Err(error) = self.clock.measure().await {
            tracing::debug!("cannot compare the clock now: {error}");
        }
    }

    /// Reloads what other replicas, the command line or the administrator of the certificate may have changed, and
    /// makes the next signing key if it is due.
    pub(super) async fn look_again(&self) {
        let failed = |what: &str, problem: String| {
            self.metrics.reload_failures.inc();
            tracing::warn!("cannot reload {what}, going on with what is in hand: {problem}");
        };
        if let Err(error) = self.keys.reload().await {
            failed("the keys", error.to_string());
        }
        if let Err(error) = self.discovery.reload().await {
            failed("the metadata", error.to_string());
        }
        if let Some(certificate) = &self.certificate {
            self.look_at(certificate);
        }
    }

    /// Loads a renewed certificate. A lasting problem is logged once an hour, bad dates once a day.
    fn look_at(&self, certificate: &Certificate) {
        let elapsed = self.clock.elapsed();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        match certificate.reload() {
            Ok(taken) => {
                let was_unreadable = logged.unreadable.take().is_some();
                if taken || was_unreadable {
                    let Validity { not_before, not_after } = certificate.validity();
                    tracing::info!(%not_before, %not_after, "the certificate was read again");
                    logged.refused = None;
                }
            }
            Err(error) => {
                self.metrics.reload_failures.inc();
                let problem = error.to_string();
                let is_new = logged.unreadable.as_ref().is_none_or(|(last, at)| {
                    *last != problem || elapsed.since(*at) >= UNREADABLE_INTERVAL
                });
                if is_new {
                    tracing::warn!("going on with the certificate in use: {problem}");
                    logged.unreadable = Some((problem, elapsed));
                }
            }
        }
        let is_due = logged.refused.is_none_or(|at| elapsed.since(at) >= REFUSED_INTERVAL);
        // Without the right time nothing can be said about dates.
        if is_due
            && let Ok(now) = self.clock.now()
            && let Some(problem) = certificate.validity().problem(now)
        {
            tracing::warn!("{problem}");
            logged.refused = Some(elapsed);
        }
    }

    /// Deletes expired sessions and counters if the clock is proven. Gives decoy numbers to users without one.
    pub(super) async fn clean(&self) {
        if let Some(before) = self.clock.deletable_before() {
            self.delete(before).await;
        }
        if let Err(error) = draw_decoy_numbers(&self.store).await {
            tracing::warn!(
                "cannot prepare users that an older version added, so that the time of a login does not tell whether \
                 they exist; trying again in a minute: {error}"
            );
        }
    }

    async fn delete(&self, before: Timestamp) {
        let mut counted = 0;
        let count = |total| {
            self.metrics.sessions_deleted.inc_by(total - counted);
            counted = total;
        };
        if let Err(error) = delete_expired_sessions(&self.store, before, Pace::Service, count).await
        {
            tracing::warn!("cannot delete expired sessions now: {error}");
        }
        if let Err(error) = delete_expired_counters(&self.store, before, Pace::Service).await {
            tracing::warn!("cannot delete old counters of failures now: {error}");
        }
        if let Err(error) = delete_old_acts(&self.store, before, Pace::Service).await {
            tracing::warn!("cannot delete old acts of the command line now: {error}");
        }
    }

    /// Logs once that a newer program has migrated the tables, whether that was before the start or since.
    async fn look_at_tables(&self) {
        // Whatever is wrong with the database, others say.
        let Ok(status) = migration::status(&self.store).await else { return };
        let said = self.tables.swap(status.applied, Ordering::Relaxed);
        if said < status.applied
            && let Some(newer) = migrating::newer_tables(status)
        {
            tracing::warn!("{newer}");
        }
    }

    /// Records that this replica has stopped, after its last answer.
    pub(super) async fn end(&self) {
        let said = tokio::time::timeout(STOP_RECORD_TIMEOUT, self.replica.stop()).await;
        let problem = match said {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the database does not answer".to_owned(),
        };
        tracing::warn!("cannot record in the table replicas that this one has stopped: {problem}");
    }

    /// Starts each job as a part of the service of its own, so that none waits for another.
    pub(super) fn start(self: &Arc<Self>, health: &Health, stop: &watch::Receiver<bool>) {
        let jobs = Jobs { upkeep: self, health, stop };
        jobs.start("clock", CLOCK_INTERVAL, |own| async move { own.measure_clock().await });
        jobs.start("reload", RELOAD_INTERVAL, |own| async move { own.look_again().await });
        jobs.start("housekeeping", HOUSEKEEPING_INTERVAL, |own| async move { own.clean().await });
        jobs.start("heartbeat", HEARTBEAT_INTERVAL, |own| async move {
            own.look_at_tables().await;
            record(&own.replica, &own.clock).await;
        });
    }
}

/// What the jobs share.
struct Jobs<'a> {
    upkeep: &'a Arc<Upkeep>,
    health: &'a Health,
    stop: &'a watch::Receiver<bool>,
}

impl Jobs<'_> {
    /// Starts a job that runs now and then in intervals.
    fn start<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        interval: Duration,
        act: impl Fn(Arc<Upkeep>) -> F + Copy + Send + Sync + 'static,
    ) {
        let (upkeep, stop) = (Arc::clone(self.upkeep), self.stop.clone());
        supervise(name, self.health, move || {
            let upkeep = Arc::clone(&upkeep);
            every(interval, stop.clone(), move || act(Arc::clone(&upkeep)))
        });
    }
}

/// Runs a job now and then in intervals, until the service stops. If it takes long, the next run is delayed.
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
