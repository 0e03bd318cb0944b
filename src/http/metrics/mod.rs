//! What is counted, in the formats of Prometheus and OpenMetrics. `docs/metrics.md` lists all of it.

mod exposition;
mod labels;
mod process;
mod when_asked;

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use jeton_crypto::hashing_pool::HashingMetrics;
use jeton_service::keys::SignatureCounters;
use jeton_store::Store;
use process::ProcessMetrics;
use when_asked::WhenAsked;

pub(super) use exposition::Format;
pub use labels::{
    EndpointLabels, OutcomeLabels, RequestLabels, ReuseLabels, RouteLabels, TokenLabels,
    UnnamedLabels,
};
pub use when_asked::Now;

/// The bounds, in seconds, that the durations of requests are sorted by: a document, a refresh, a login alone, logins
/// that wait, and `--login-deadline`.
const DURATIONS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0];

/// How many lines of the log were dropped, by `kind`: `audit` or `other`.
pub type LogLinesDropped = Family<[(&'static str, &'static str); 1], Counter>;

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
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
    /// Accounts that had so many failures in a row that only origins which they know are served.
    pub accounts_locked: Counter,
    /// Times that a client presented many tokens which this service never made.
    pub unknown_token_floods: Counter,
    /// Forms whose caller or end user should have been named and was not.
    pub unnamed_callers: Family<UnnamedLabels, Counter>,
    /// Expired sessions that this replica deleted.
    pub sessions_deleted: Counter,
    /// Failures to look at the store for new keys and clients.
    pub reload_failures: Counter,
    /// Connections of the public listener.
    pub connections: Gauge,
    /// Those of them that were closed for another when all were taken.
    pub connections_gave_way: Counter,
    when_asked: WhenAsked,
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
        let mut all = Registry::default();
        all.register_collector(Box::new(ProcessMetrics::new()));
        let registry = all.sub_registry_with_prefix("jeton");
        register_build(registry);
        register_hashing(registry, hashing);
        register_store(registry, store);
        let help = "Genuine access tokens whose signature was verified";
        registry.register("access_tokens_verified", help, signatures.verified.clone());
        let help = "Genuine access tokens whose signature had been verified before";
        registry.register("access_tokens_remembered", help, signatures.remembered.clone());
        let help = "Times that the process did not run for 2 s or more";
        registry.register("standstills", help, standstills.clone());
        let help = "Lines of the log that were dropped, because nobody read them in time";
        registry.register("log_lines_dropped", help, log_lines_dropped.clone());
        Self::register_own(all)
    }

    /// Registers what is counted here.
    fn register_own(mut all: Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(DURATIONS);
        let registry = all.sub_registry_with_prefix("jeton");
        let when_asked = WhenAsked::register(registry);
        let mut own = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            token_requests: Family::default(),
            revocations: Family::default(),
            introspections: Family::default(),
            refresh_tokens_reused: reuses_from_zero(),
            sessions_caught_up: Counter::default(),
            surplus_sessions_ended: Counter::default(),
            unknown_sessions: unknown_sessions_from_zero(),
            accounts_locked: Counter::default(),
            unknown_token_floods: Counter::default(),
            unnamed_callers: unnamed_callers_from_zero(),
            sessions_deleted: Counter::default(),
            reload_failures: Counter::default(),
            connections: Gauge::default(),
            connections_gave_way: Counter::default(),
            when_asked,
        };
        own.register_requests(registry);
        own.register_sessions(registry);
        own.registry = all;
        own
    }

    /// Registers what is counted of requests and their connections.
    fn register_requests(&self, registry: &mut Registry) {
        let help = "Answers by route and status";
        registry.register("http_requests", help, self.requests.clone());
        let name = "http_request_duration";
        let help =
            "From the content of a request to its answer, without the time that the caller takes";
        registry.register_with_unit(name, help, Unit::Seconds, self.durations.clone());
        let help = "Token requests by grant and outcome";
        registry.register("token_requests", help, self.token_requests.clone());
        registry.register("revocations", "Revocations by outcome", self.revocations.clone());
        let help = "Introspections by outcome";
        registry.register("introspections", help, self.introspections.clone());
        let help = "Forms whose caller or end user was not named, or not understood";
        registry.register("unnamed_callers", help, self.unnamed_callers.clone());
        let help = "Open connections of the public listener";
        registry.register("connections", help, self.connections.clone());
        let help = "Idle connections that were closed because all were taken";
        registry.register("connections_gave_way", help, self.connections_gave_way.clone());
    }

    /// Registers what is counted of sessions, accounts and keys.
    fn register_sessions(&self, registry: &mut Registry) {
        let help = "Refresh tokens that came again after they were exchanged";
        registry.register("refresh_tokens_reused", help, self.refresh_tokens_reused.clone());
        let help = "Sessions whose refresh token was ahead of the database, which lost writes";
        registry.register("sessions_caught_up", help, self.sessions_caught_up.clone());
        let help = "Sessions that were ended because a user had too many through one client";
        registry.register("surplus_sessions_ended", help, self.surplus_sessions_ended.clone());
        let help = "Genuine tokens whose session is not in the database";
        registry.register("unknown_sessions", help, self.unknown_sessions.clone());
        let help = "Accounts that had 100 failures, or 100 wrong one-time passwords, in a row";
        registry.register("accounts_locked", help, self.accounts_locked.clone());
        let help =
            "Times that a client presented 100 tokens within a minute that were never made here";
        registry.register("unknown_token_floods", help, self.unknown_token_floods.clone());
        let help = "Expired sessions that this replica deleted";
        registry.register("expired_sessions_deleted", help, self.sessions_deleted.clone());
        let help = "Failures to read keys, metadata or the certificate again";
        registry.register("reload_failures", help, self.reload_failures.clone());
    }

    /// Has a route counted from zero: an alarm that watches for a rise needs the zero before it.
    pub(super) fn announce_route(&self, route: &'static str) {
        for status in [500, 503] {
            drop(self.requests.get_or_create(&RequestLabels { route, status }));
        }
        drop(self.durations.get_or_create(&RouteLabels { route }));
    }

    /// Counts an answer, and how long it took to make.
    pub(super) fn count_answer(&self, route: &'static str, status: StatusCode, took: Duration) {
        self.requests.get_or_create(&RequestLabels { route, status: status.as_u16() }).inc();
        self.durations.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64());
    }

    /// Everything as text, with what is only known when asked.
    #[must_use]
    pub(super) fn render(&self, now: &Now<'_>, format: Format) -> String {
        self.when_asked.set(now);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes any text");
        format.page(text)
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

/// Registers what runs here.
fn register_build(registry: &mut Registry) {
    let build = Info::new([
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
    ]);
    registry.register("build", "What runs here", build);
}

/// Registers what hashing counts.
fn register_hashing(registry: &mut Registry, hashing: &HashingMetrics) {
    let help = "Logins that wait for a hashing thread";
    registry.register("hashing_queue_depth", help, hashing.queue_depth.clone());
    let help = "How long logins waited for a hashing thread";
    registry.register_with_unit("hashing_wait", help, Unit::Seconds, hashing.wait.clone());
    let help = "How long it took to compute a batch of hashes";
    registry.register_with_unit("hashing_duration", help, Unit::Seconds, hashing.duration.clone());
    let help = "Hashes that were computed at once in a batch";
    registry.register("hashing_batch_size", help, hashing.batch_size.clone());
    let help = "Passwords that were verified, right ones and wrong ones, by function";
    registry.register("hashing_verified", help, hashing.verified.clone());
    let help = "Logins that were refused because too many waited";
    registry.register("hashing_refused", help, hashing.refused.clone());
    let help = "Logins whose caller left before their turn came";
    registry.register("hashing_abandoned", help, hashing.abandoned.clone());
}

/// Registers what the store counts.
fn register_store(registry: &mut Registry, store: &Store) {
    let help = "Statements run, BEGIN and COMMIT apart";
    registry.register("database_statements", help, store.statements().clone());
    let help = "Use cases given up before the database had answered";
    registry.register("database_given_up", help, store.given_up().clone());
}
