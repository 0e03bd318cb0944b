//! Whether a login could succeed now, and if not, why.

pub mod write_watch;

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::agreed_clock::AgreedClock;
use crate::keys::Keys;
use jeton_runtime::supervision::Health;
use jeton_store::Stop;
use jeton_store::gate::ClosedFor;
use write_watch::WriteWatch;

/// Checks everything that a login needs.
#[derive(Debug)]
pub struct Readiness {
    /// Tell whether tokens can be signed and derived, and failures counted.
    pub keys: Arc<Keys>,
    /// Tells whether the machine's clock is right.
    pub clock: Arc<AgreedClock>,
    /// Tells whether the database takes writes.
    pub writes: Arc<WriteWatch>,
    /// Why the database takes no changes from this program although it can be read. The service is ready then, for
    /// whoever only asks.
    pub closed: Arc<Mutex<Option<ClosedFor>>>,
    /// Tells which parts of the service are down, such as hashing threads.
    pub health: Health,
    /// Whether the service was told to stop.
    pub draining: Stop,
    /// The causes that were last logged.
    pub logged: Mutex<Vec<String>>,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Report {
    status: &'static str,
    /// Why it is not ready: sentences for operators.
    reasons: Vec<String>,
    database: &'static str,
    signing_key: &'static str,
    refresh_key: &'static str,
    throttle_key: &'static str,
    /// The key that opens sealed password hashes.
    data_key: &'static str,
    /// How many needed keys cannot be opened here.
    keys_unusable: usize,
    clock: &'static str,
    /// By how much the clock is ahead of the second one; negative if it is behind.
    clock_offset_seconds: f64,
    /// The parts of the service that failed and are not running again yet.
    parts_down: Vec<String>,
    /// How long ago the keys were read from the database.
    keys_age_seconds: i64,
    /// For how long callers may cache the key set.
    jwks_max_age_seconds: i64,
}

impl Report {
    /// Whether a login could succeed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Something that a login needs.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// A stable word for metrics.
    pub name: &'static str,
    /// Whether it is there; `None` if that is not known, because nobody asked lately.
    pub met: Option<bool>,
}

impl Readiness {
    /// What a login needs, as it is known now: this waits for nothing and logs nothing. The database is then checked
    /// for a minute, so the next answer knows its state.
    #[must_use]
    pub fn needs(&self) -> [Need; 8] {
        let keys = self.keys.health();
        [
            ("database", self.writes.latest()),
            ("clock", Some(self.clock.now().is_ok())),
            ("signing_key", Some(keys.signs)),
            ("refresh_key", Some(keys.derives)),
            ("throttle_key", Some(keys.counts)),
            ("data_key", Some(keys.opens != Some(false))),
            ("parts", Some(self.health.down().is_empty())),
            ("running", Some(!*self.draining.borrow())),
        ]
        .map(|(name, met)| Need { name, met })
    }

    /// Checks everything. When the causes change, logs them.
    pub async fn look(&self) -> Report {
        let database = self.writes.ask().await;
        let clock = self.clock.now();
        let keys = self.keys.health();
        let parts_down: Vec<_> =
            self.health.down().into_iter().map(|down| down.part.to_string()).collect();

        let mut found: Vec<(&str, String)> = Vec::new();
        found.extend(
            database.as_ref().err().map(|why| ("database", format!("no write succeeds: {why}"))),
        );
        found.extend(clock.err().map(|off| ("clock", off.to_string())));
        for (key, usable, act) in [
            ("signing_key", keys.signs, "sign access tokens"),
            ("refresh_key", keys.derives, "derive refresh tokens"),
            ("throttle_key", keys.counts, "name the counters of failures"),
            ("data_key", keys.opens != Some(false), "open sealed password hashes"),
        ] {
            if !usable {
                found.push((key, format!("no key can {act}: see `jeton check`, and the log")));
            }
        }
        for part in &parts_down {
            found.push((part, format!("the part {part} failed and is started again")));
        }
        self.log_changes(&found);
        let stopping = *self.draining.borrow();
        if stopping {
            found.push(("stopping", "the service was told to stop".to_owned()));
        }
        let reasons: Vec<_> = found.into_iter().map(|(_, reason)| reason).collect();

        let key = |usable| if usable { "usable" } else { "missing" };
        Report {
            status: match reasons.len() {
                0 => "ready",
                _ if stopping => "stopping",
                _ => "not ready",
            },
            reasons,
            database: match database {
                Ok(()) => self.database(),
                Err(_) => "takes no writes",
            },
            signing_key: key(keys.signs),
            refresh_key: key(keys.derives),
            throttle_key: key(keys.counts),
            data_key: keys.opens.map_or("not used", key),
            keys_unusable: keys.unusable,
            clock: if clock.is_ok() { "agrees" } else { "off" },
            clock_offset_seconds: self.clock.offset(),
            parts_down,
            keys_age_seconds: keys.age.get(),
            jwks_max_age_seconds: keys.jwks_max_age.get(),
        }
    }

    /// What is said of a database with which nothing is wrong.
    fn database(&self) -> &'static str {
        match *self.closed.lock().unwrap_or_else(PoisonError::into_inner) {
            None => "takes writes",
            Some(ClosedFor::Outdated | ClosedFor::Unreadable) => {
                "has the tables of a newer jeton, so it takes no writes from this one"
            }
            Some(ClosedFor::Copying | ClosedFor::Moved | ClosedFor::Unfinished) => {
                "is copied, so it takes no writes"
            }
        }
    }

    /// Logs when the causes change, and when there are none any more.
    fn log_changes(&self, found: &[(&str, String)]) {
        let subjects: Vec<_> = found.iter().map(|(subject, _)| (*subject).to_owned()).collect();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if *logged == subjects {
            return;
        }
        if found.is_empty() {
            tracing::info!("ready again");
        } else {
            let reasons: Vec<_> = found.iter().map(|(_, reason)| reason.as_str()).collect();
            tracing::warn!("not ready: {}", reasons.join("; "));
        }
        *logged = subjects;
    }
}
