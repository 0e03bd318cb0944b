//! What is counted, in the Prometheus text format.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::Timestamp;
use crate::crypto::hashing_pool::HashingMetrics;
use crate::crypto::key_lifecycle::KeyState;
use crate::crypto::key_ring::KeyRing;
use crate::endpoint::keys::KeyHealth;
use crate::store::PoolUse;

/// What a request is counted by. No label names a user, an address or a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's name.
    pub route: &'static str,
    /// The status of the response.
    pub status: u16,
}

/// What a token request is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TokenLabels {
    /// The grant, or `none` if it never came to one.
    pub grant: &'static str,
    /// `issued`, or the reason of the refusal.
    pub outcome: &'static str,
}

/// What a revocation or an introspection is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `revoked` or `nothing`, `active` or `inactive`, or the reason of the refusal.
    pub outcome: &'static str,
}

/// What keys are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabels {
    /// `published`, `signing` or `verifying`.
    pub state: &'static str,
}

/// How many lines of the log were dropped, by `kind`: `audit` or `other`.
pub type LogLinesDropped = Family<[(&'static str, &'static str); 1], Counter>;

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by route and status.
    pub requests: Family<RequestLabels, Counter>,
    /// Token requests by grant and outcome.
    pub token_requests: Family<TokenLabels, Counter>,
    /// Revocations by outcome.
    pub revocations: Family<OutcomeLabels, Counter>,
    /// Introspections by outcome.
    pub introspections: Family<OutcomeLabels, Counter>,
    /// Expired sessions that this replica deleted.
    pub sessions_deleted: Counter,
    /// Failures to look at the store for new keys and clients.
    pub reload_failures: Counter,
    /// Connections of the public listener.
    pub connections: Gauge,
    /// Those of them that gave way to another when all were taken.
    pub connections_gave_way: Counter,
    pool_capacity: Gauge,
    pool_in_use: Gauge,
    pool_waiting: Gauge,
    signing_key_age: Gauge,
    signing_keys: Family<StateLabels, Gauge>,
    keys_age: Gauge,
    next_key_published: Gauge,
    next_key_signs: Gauge,
    /// Nothing without TLS: a family of one, which is missing until it is set.
    certificate_expires: Family<[(&'static str, &'static str); 0], Gauge>,
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn new(
        hashing: &HashingMetrics,
        statements: &Counter,
        log_lines_dropped: &LogLinesDropped,
    ) -> Self {
        let mut registry = Registry::with_prefix("jeton");
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        register!("hashing_queue_depth", "Logins waiting", hashing.queue_depth.clone());
        register!("hashing_wait_seconds", "Wait for a hashing thread", hashing.wait.clone());
        register!("hashing_duration_seconds", "Time to verify", hashing.duration.clone());
        register!("hashing_verified", "Passwords verified", hashing.verified.clone());
        register!("hashing_refused", "Logins refused for load", hashing.refused.clone());
        register!("hashing_abandoned", "Logins whose caller left", hashing.abandoned.clone());
        register!(
            "database_statements",
            "Statements run, BEGIN and COMMIT apart",
            statements.clone()
        );
        register!("log_lines_dropped", "Lines that nobody read in time", log_lines_dropped.clone());
        Self {
            requests: register!("http_requests", "Requests by route", Family::default()),
            token_requests: register!("token_requests", "Token requests", Family::default()),
            revocations: register!("revocations", "Revocations", Family::default()),
            introspections: register!("introspections", "Introspections", Family::default()),
            sessions_deleted: register!(
                "expired_sessions_deleted",
                "Expired sessions deleted",
                Counter::default()
            ),
            reload_failures: register!("reload_failures", "Failed reloads", Counter::default()),
            connections: register!("connections", "Open connections", Gauge::default()),
            connections_gave_way: register!(
                "connections_gave_way",
                "Idle connections closed because all were taken",
                Counter::default()
            ),
            pool_capacity: register!("database_pool_capacity", "Most at once", Gauge::default()),
            pool_in_use: register!("database_pool_in_use", "Under way", Gauge::default()),
            pool_waiting: register!("database_pool_waiting", "Waiting", Gauge::default()),
            signing_key_age: register!(
                "signing_key_age_seconds",
                "Since the signing key began to sign",
                Gauge::default()
            ),
            signing_keys: register!("signing_keys", "Keys by state", Family::default()),
            keys_age: register!(
                "keys_age_seconds",
                "Since the keys were last read from the database",
                Gauge::default()
            ),
            next_key_published: register!(
                "next_signing_key_published_seconds",
                "Until the next key is in the JWKS; 0 if it is",
                Gauge::default()
            ),
            next_key_signs: register!(
                "next_signing_key_signs_seconds",
                "Until the next key signs",
                Gauge::default()
            ),
            certificate_expires: register!(
                "tls_certificate_expires_seconds",
                "Until the certificate expires; negative since it has",
                Family::default()
            ),
            registry,
        }
    }

    /// Notes when the certificate expires.
    pub fn set_certificate_expiry(&self, not_after: Timestamp, now: Timestamp) {
        self.certificate_expires.get_or_create(&[]).set(not_after.0.saturating_sub(now.0));
    }

    /// Everything as text, with what is only known when asked.
    #[must_use]
    pub fn render(
        &self,
        pool: PoolUse,
        keys: &KeyRing,
        health: &KeyHealth,
        now: Timestamp,
    ) -> String {
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.pool_capacity.set(gauge(pool.capacity));
        self.pool_in_use.set(gauge(pool.in_use));
        self.pool_waiting.set(gauge(pool.waiting));
        for state in [KeyState::Published, KeyState::Signing, KeyState::Verifying] {
            let labels = StateLabels { state: state.as_str() };
            self.signing_keys.get_or_create(&labels).set(gauge(keys.count(state)));
        }
        let until = |at: Option<Timestamp>| at.map_or(0, |at| at.since(now).get());
        self.keys_age.set(health.age.get());
        self.next_key_published.set(until(health.next_published_at));
        self.next_key_signs.set(until(health.next_signs_at));
        if let Some(key) = keys.signing() {
            self.signing_key_age.set(now.since(key.dates.activates_at).get());
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes any text");
        text
    }
}
