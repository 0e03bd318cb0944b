//! What is counted, in the Prometheus text format.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::tls::Validity;
use jeton_crypto::hashing_pool::HashingMetrics;
use jeton_crypto::key_lifecycle::KeyState;
use jeton_crypto::key_set::KeySet;
use jeton_oauth::Timestamp;
use jeton_service::keys::{KeyHealth, SignatureCounters};
use jeton_store::{PoolUse, Store};

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
    /// `issued`, `retried` for a refresh token that was answered again, or the reason of the refusal.
    pub outcome: &'static str,
}

/// What a revocation or an introspection is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `revoked` or `nothing`, `active` or `inactive`, or the reason of the refusal.
    pub outcome: &'static str,
}

/// What refresh tokens are counted by that came again after they were exchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReuseLabels {
    /// How many exchanges the token was behind: `1`, `2` or `3_or_more`.
    pub behind: &'static str,
    /// `ended` if its session was, or `withheld`.
    pub verdict: &'static str,
}

/// What genuine tokens of unknown sessions are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndpointLabels {
    /// `token` or `introspection`.
    pub endpoint: &'static str,
}

/// What requests are counted by whose caller or end user was not named.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UnnamedLabels {
    /// `missing` or `unreadable`, of `X-Forwarded-For` from a trusted proxy; or `no_end_user`, of a client
    /// that was registered to name its end users.
    pub why: &'static str,
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
    /// Refresh tokens that came again after they were exchanged.
    pub refresh_tokens_reused: Family<ReuseLabels, Counter>,
    /// Sessions whose refresh token was ahead of the database.
    pub sessions_caught_up: Counter,
    /// Genuine tokens whose session is not in the database.
    pub unknown_sessions: Family<EndpointLabels, Counter>,
    /// Sessions that were ended because a user had too many through one client.
    pub surplus_sessions_ended: Counter,
    /// Forms whose caller or end user should have been named and was not.
    pub unnamed_callers: Family<UnnamedLabels, Counter>,
    /// Expired sessions that this replica deleted.
    pub sessions_deleted: Counter,
    /// Failures to look at the store for new keys and clients.
    pub reload_failures: Counter,
    /// Connections of the public listener.
    pub connections: Gauge,
    /// Those of them that were evicted when all were taken.
    pub connections_gave_way: Counter,
    when_asked: WhenAsked,
}

/// What is only known when it is asked for.
#[derive(Debug, Default)]
struct WhenAsked {
    /// By how many seconds the clock is ahead of the second one.
    clock_offset: Gauge<f64, AtomicU64>,
    pool_capacity: Gauge,
    pool_in_use: Gauge,
    pool_waiting: Gauge,
    signing_key_age: Gauge,
    signing_keys: Family<StateLabels, Gauge>,
    keys_age: Gauge,
    keys_unusable: Gauge,
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
        store: &Store,
        signatures: &SignatureCounters,
        standstills: &Counter,
        log_lines_dropped: &LogLinesDropped,
    ) -> Self {
        let mut registry = Registry::with_prefix("jeton");
        register_foreign(&mut registry, hashing, store);
        let help = "Genuine access tokens whose signature was verified";
        registry.register("access_tokens_verified", help, signatures.verified.clone());
        let help = "Genuine access tokens whose signature had been verified before";
        registry.register("access_tokens_remembered", help, signatures.remembered.clone());
        registry.register("standstills", "Times that the process stood still", standstills.clone());
        let help = "Lines that nobody read in time";
        registry.register("log_lines_dropped", help, log_lines_dropped.clone());
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        Self {
            requests: register!("http_requests", "Requests by route", Family::default()),
            token_requests: register!("token_requests", "Token requests", Family::default()),
            revocations: register!("revocations", "Revocations", Family::default()),
            introspections: register!("introspections", "Introspections", Family::default()),
            refresh_tokens_reused: register!(
                "refresh_tokens_reused",
                "Refresh tokens that came again after they were exchanged",
                reuses_from_zero()
            ),
            sessions_caught_up: register!(
                "sessions_caught_up",
                "Sessions whose refresh token was ahead of the database",
                Counter::default()
            ),
            surplus_sessions_ended: register!(
                "surplus_sessions_ended",
                "Sessions that were ended because a user had too many through one client",
                Counter::default()
            ),
            unknown_sessions: register!(
                "unknown_sessions",
                "Genuine tokens whose session is not in the database",
                unknown_sessions_from_zero()
            ),
            unnamed_callers: register!(
                "unnamed_callers",
                "Forms whose caller or end user was not named, or not understood",
                unnamed_callers_from_zero()
            ),
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
            when_asked: WhenAsked::register(&mut registry),
            registry,
        }
    }

    /// Everything as text, with what is only known when asked.
    #[must_use]
    pub fn render(&self, now: &Now<'_>) -> String {
        self.when_asked.set(now);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes any text");
        text
    }
}

/// How things stand when the metrics are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// The way to the database.
    pub pool: PoolUse,
    /// The signing keys.
    pub keys: &'a KeySet,
    /// All keys.
    pub health: KeyHealth,
    /// When the certificate of the public listener is good, if it speaks TLS.
    pub certificate: Option<Validity>,
    /// What time it is.
    pub time: Timestamp,
    /// By how many seconds the clock is ahead of the second one.
    pub clock_offset: f64,
}

impl WhenAsked {
    fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register(
            "clock_offset_seconds",
            "By how much the clock is ahead of the database's, or of what it should show",
            own.clock_offset.clone(),
        );
        registry.register("database_pool_capacity", "Most at once", own.pool_capacity.clone());
        registry.register("database_pool_in_use", "Under way", own.pool_in_use.clone());
        registry.register("database_pool_waiting", "Waiting", own.pool_waiting.clone());
        registry.register(
            "signing_key_age_seconds",
            "Since the signing key began to sign",
            own.signing_key_age.clone(),
        );
        registry.register("signing_keys", "Keys by state", own.signing_keys.clone());
        registry.register(
            "keys_age_seconds",
            "Since the keys were last read from the database",
            own.keys_age.clone(),
        );
        registry.register(
            "keys_unusable",
            "Keys of use that cannot be opened here",
            own.keys_unusable.clone(),
        );
        registry.register(
            "next_signing_key_published_seconds",
            "Until the next key is in the JWKS; 0 if it is",
            own.next_key_published.clone(),
        );
        registry.register(
            "next_signing_key_signs_seconds",
            "Until the next key signs",
            own.next_key_signs.clone(),
        );
        registry.register(
            "tls_certificate_expires_seconds",
            "Until the certificate expires; negative since it has",
            own.certificate_expires.clone(),
        );
        own
    }

    fn set(&self, now: &Now<'_>) {
        let Now { pool, keys, health, certificate, time, clock_offset } = *now;
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.clock_offset.set(clock_offset);
        self.pool_capacity.set(gauge(pool.capacity));
        self.pool_in_use.set(gauge(pool.in_use));
        self.pool_waiting.set(gauge(pool.waiting));
        for state in [KeyState::Published, KeyState::Signing, KeyState::Verifying] {
            let labels = StateLabels { state: state.as_str() };
            self.signing_keys.get_or_create(&labels).set(gauge(keys.count(state)));
        }
        let until = |at: Option<Timestamp>| at.map_or(0, |at| at.since(time).get());
        self.keys_age.set(health.age.get());
        self.keys_unusable.set(gauge(health.unusable));
        self.next_key_published.set(until(health.next_published_at));
        self.next_key_signs.set(until(health.next_signs_at));
        if let Some(key) = keys.signing() {
            self.signing_key_age.set(time.since(key.dates.activates_at).get());
        }
        if let Some(Validity { not_after, .. }) = certificate {
            self.certificate_expires.get_or_create(&[]).set(not_after.0.saturating_sub(time.0));
        }
    }
}

/// All counters of reused refresh tokens: an alarm that watches for a rise needs the zero before it.
fn reuses_from_zero() -> Family<ReuseLabels, Counter> {
    let family = Family::default();
    for behind in ["1", "2", "3_or_more"] {
        for verdict in ["ended", "withheld"] {
            drop(family.get_or_create(&ReuseLabels { behind, verdict }));
        }
    }
    family
}

/// The same of unknown sessions.
fn unknown_sessions_from_zero() -> Family<EndpointLabels, Counter> {
    let family = Family::default();
    for endpoint in ["token", "introspection"] {
        drop(family.get_or_create(&EndpointLabels { endpoint }));
    }
    family
}

/// The same of callers without a name.
fn unnamed_callers_from_zero() -> Family<UnnamedLabels, Counter> {
    let family = Family::default();
    for why in ["missing", "unreadable", "no_end_user"] {
        drop(family.get_or_create(&UnnamedLabels { why }));
    }
    family
}

/// Registers what hashing and the store count.
fn register_foreign(registry: &mut Registry, hashing: &HashingMetrics, store: &Store) {
    registry.register("hashing_queue_depth", "Logins waiting", hashing.queue_depth.clone());
    registry.register("hashing_wait_seconds", "Wait for a hashing thread", hashing.wait.clone());
    registry.register(
        "hashing_duration_seconds",
        "Time to compute a batch",
        hashing.duration.clone(),
    );
    registry.register("hashing_batch_size", "Hashes computed at once", hashing.batch_size.clone());
    registry.register("hashing_verified", "Passwords verified", hashing.verified.clone());
    registry.register("hashing_refused", "Logins refused for load", hashing.refused.clone());
    registry.register("hashing_abandoned", "Logins whose caller left", hashing.abandoned.clone());
    let help = "Statements run, BEGIN and COMMIT apart";
    registry.register("database_statements", help, store.statements().clone());
    let help = "Use cases given up before the database had answered";
    registry.register("database_given_up", help, store.given_up().clone());
}
